// The real CUDA runtime and cuBLASLt on a machine without a driver: what they answer there, which
// is what our sentences rest on, and that they take our descriptions of products. With a device
// there is nothing to see here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda_gemm.cpp"

namespace assay::cuda {
namespace {

using testing::HasSubstr;

class Driverless : public testing::Test {
 protected:
  void SetUp() override {
    int driver = 0;
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0) {
      GTEST_SKIP() << "there is a driver here";
    }
  }
};

TEST_F(Driverless, TheRuntimeSaysThatTheDriverIsInsufficient) {
  int devices = -1;
  EXPECT_EQ(cudaGetDeviceCount(&devices), cudaErrorInsufficientDriver);
  EXPECT_EQ(int{cudaErrorInsufficientDriver}, 35);
  EXPECT_EQ(int{cudaErrorStubLibrary}, 34);
  const std::optional<Skipped> why = NoDevice(&devices);
  ASSERT_TRUE(why);
  EXPECT_EQ(why->reason, "there is no NVIDIA driver");
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 1), cudaErrorInsufficientDriver);
  EXPECT_THROW(MakeStream(), Error);
}

TEST_F(Driverless, CublasLtTakesEveryDescriptionAndThenHasNoDevice) {
  int described = 0;
  for (const Dtype dtype :
       {Dtype::kF64, Dtype::kF32, Dtype::kTf32, Dtype::kBf16, Dtype::kF16, Dtype::kFp8E4m3,
        Dtype::kFp8E5m2E4m3, Dtype::kMxfp8, Dtype::kNvfp4, Dtype::kInt8}) {
    const std::optional<Types> types = TypesOf(dtype);
    if (!types) continue;  // built with a CUDA before 12.8
    ++described;
    try {
      Product(Gemm{.dtype = dtype, .m = 32, .n = 64, .k = 16, .batch = 3}, *types);
      FAIL() << "a handle without a device";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("its start: CUBLAS_STATUS_NOT_INITIALIZED"));
    }
  }
  EXPECT_GE(described, 8);
}

// The real library looks at sizes, so that the test above means something.
TEST_F(Driverless, CublasLtRefusesAnAttributeOfAnotherSize) {
  cublasLtMatmulDesc_t made = nullptr;
  ASSERT_EQ(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  const LtMatmul matmul(made);
  EXPECT_THROW(Set(matmul, CUBLASLT_MATMUL_DESC_TRANSA, std::int64_t{CUBLAS_OP_T}), Error);
  EXPECT_THROW(Set(matmul, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int32_t{0}), Error);
  EXPECT_NO_THROW(Set(matmul, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{0}));
  const float scale = 1;
  EXPECT_THROW(Set(matmul, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scale), Error);
  EXPECT_NO_THROW(
      Set(matmul, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(&scale)));
}

}  // namespace
}  // namespace assay::cuda

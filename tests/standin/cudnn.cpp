// cuDNN's part of the stand-in: its backend API as far as attention goes through it, with or
// without cudnn-frontend. It is a library by cuDNN's own soname, so that who asks the loader for
// that gets this one, once it is loaded. A graph is done operation by operation, each by its
// textbook meaning, on the numbers to which the descriptors lead: where the graph says something
// else than attention, something else comes out.
//
// An operation is added to kKinds: its attributes, and the function that does it. A plan is known
// by its number among those that the heuristic offers, and its time, its workspace and its faults
// are those of Faults.
#include <cudnn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/inputs.h"
#include "standin/state.h"

namespace {

using namespace standin;
using assay::Format;

// The frontend makes other graphs for other versions.
constexpr std::size_t kVersion = 91900;

thread_local std::string last_error;

cudnnStatus_t Refuse(cudnnStatus_t status, const std::string& why) {
  last_error = "Error: Reason: " + why + " at: the stand-in";
  return status;
}
cudnnStatus_t Wrong(const std::string& what) {
  Violate(what);
  return Refuse(CUDNN_STATUS_BAD_PARAM, what);
}

struct Handle {
  int device = 0;
  cudaStream_t stream = nullptr;
};

// The values of a descriptor's attributes; Integers are enumerations too.
struct Descriptor;
using Shared = std::shared_ptr<const Descriptor>;
using Integers = std::vector<std::int64_t>;
using Value = std::variant<Integers, std::vector<double>, std::vector<void*>, std::vector<Shared>>;

struct Descriptor {
  cudnnBackendDescriptorType_t type;
  bool final = false;  // and so never changed again
  std::map<cudnnBackendAttributeName_t, Value> values = {};

  bool Has(cudnnBackendAttributeName_t name) const { return values.contains(name); }
  template <class T>
  const std::vector<T>& All(cudnnBackendAttributeName_t name) const {
    return std::get<std::vector<T>>(values.at(name));
  }
  std::int64_t Integer(cudnnBackendAttributeName_t name, std::int64_t otherwise = 0) const {
    return Has(name) ? All<std::int64_t>(name).at(0) : otherwise;
  }
  const Descriptor& Other(cudnnBackendAttributeName_t name) const {
    return *All<Shared>(name).at(0);
  }
};
// The target of cuDNN's opaque pointer. A descriptor lives as long as another one refers to it,
// whoever destroys it.
using Held = std::shared_ptr<Descriptor>;
Held& Of(cudnnBackendDescriptor_t descriptor) { return *static_cast<Held*>(descriptor); }

// How one number is stored that has a place in memory. Truth has none.
Format FormatOf(std::int64_t type) {
  switch (type) {
    case CUDNN_DATA_FLOAT:
      return Format::kF32;
    case CUDNN_DATA_BFLOAT16:
      return Format::kBf16;
    case CUDNN_DATA_HALF:
      return Format::kF16;
    case CUDNN_DATA_FP8_E4M3:
      return Format::kF8E4m3;
    case CUDNN_DATA_INT32:
      return Format::kS32;
    default:
      Unknown("data type " + std::to_string(type) + " in memory");
  }
}
void RequireArithmetic(std::int64_t type, std::initializer_list<cudnnDataType_t> allowed) {
  if (std::find(allowed.begin(), allowed.end(), type) == allowed.end()) {
    Unknown("arithmetic in data type " + std::to_string(type));
  }
}

// Dimensions, strides or an index. What has fewer gets more of 1 in front.
using Four = std::array<std::int64_t, 4>;
Four FourOf(const Integers& some, std::int64_t in_front) {
  Four four = {in_front, in_front, in_front, in_front};
  if (some.size() > four.size()) Unknown("tensor of more than four dimensions");
  std::copy_backward(some.begin(), some.end(), four.end());
  return four;
}
std::int64_t Product(const Four& dims) { return dims[0] * dims[1] * dims[2] * dims[3]; }
std::size_t Place(const Four& at, const Four& strides) {
  return static_cast<std::size_t>(at[0] * strides[0] + at[1] * strides[1] + at[2] * strides[2] +
                                  at[3] * strides[3]);
}
template <class Visit>
void ForEach(const Four& dims, const Visit& visit) {
  Four at = {};
  for (at[0] = 0; at[0] < dims[0]; ++at[0]) {
    for (at[1] = 0; at[1] < dims[1]; ++at[1]) {
      for (at[2] = 0; at[2] < dims[2]; ++at[2]) {
        for (at[3] = 0; at[3] < dims[3]; ++at[3]) visit(at);
      }
    }
  }
}

struct TensorDescriptor {
  explicit TensorDescriptor(const Descriptor& said)
      : uid(said.Integer(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
        type(said.Integer(CUDNN_ATTR_TENSOR_DATA_TYPE)),
        alignment(said.Integer(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
        is_virtual(said.Integer(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != 0),
        is_by_value(said.Integer(CUDNN_ATTR_TENSOR_IS_BY_VALUE) != 0),
        dims(FourOf(said.All<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS), 1)),
        strides(FourOf(said.All<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES), 0)) {}

  std::size_t Bytes() const {
    std::int64_t last = 0;
    for (std::size_t i = 0; i < dims.size(); ++i) last += (dims[i] - 1) * strides[i];
    return static_cast<std::size_t>(assay::BytesOf(FormatOf(type), last + 1));
  }

  std::int64_t uid;
  std::int64_t type;
  std::int64_t alignment;
  bool is_virtual;
  bool is_by_value;
  Four dims;
  Four strides;
};

// A tensor's numbers, packed, whatever its strides are.
struct Numbers {
  explicit Numbers(const Four& of)
      : dims(of),
        strides({of[1] * of[2] * of[3], of[2] * of[3], of[3], 1}),
        values(static_cast<std::size_t>(Product(of))) {}
  double& operator[](const Four& at) { return values[Place(at, strides)]; }
  double operator[](const Four& at) const { return values[Place(at, strides)]; }

  // Where a larger tensor's index is in this one, of which a dimension of 1 stands for all, and one
  // that divides the larger one for groups of neighbours, as heads share keys.
  Four Within(const Four& at, const Four& larger) const {
    Four within = {};
    for (std::size_t i = 0; i < at.size(); ++i) within[i] = at[i] * dims[i] / larger[i];
    return within;
  }
  void RequireWithin(const Four& larger) const {
    for (std::size_t i = 0; i < dims.size(); ++i) {
      if (larger[i] % dims[i] != 0) Unknown("tensors of such dimensions together");
    }
  }

  Four dims;
  Four strides;
  std::vector<double> values;
};

// One execution: where the tensors are, and those that are nowhere but in it.
class Run {
 public:
  Run(std::map<std::int64_t, void*> pointers, std::map<std::int64_t, double> scalars)
      : pointers_(std::move(pointers)), scalars_(std::move(scalars)) {}

  Numbers Read(const Descriptor& operation, cudnnBackendAttributeName_t name) const {
    const TensorDescriptor tensor(operation.Other(name));
    if (tensor.is_virtual) return virtual_.at(tensor.uid);
    Numbers numbers(tensor.dims);
    if (tensor.is_by_value) {
      numbers.values[0] = scalars_.at(tensor.uid);
      return numbers;
    }
    const assay::Tensor memory = {.format = FormatOf(tensor.type),
                                  .data = pointers_.at(tensor.uid)};
    ForEach(tensor.dims, [&](const Four& at) {
      numbers[at] = memory[static_cast<std::int64_t>(Place(at, tensor.strides))];
    });
    return numbers;
  }

  // Rounds to what the tensor is stored in, even where it is virtual.
  void Write(const Descriptor& operation, cudnnBackendAttributeName_t name, Numbers numbers) {
    const TensorDescriptor tensor(operation.Other(name));
    if (numbers.dims != tensor.dims) Unknown("output of such dimensions");
    if (!tensor.is_virtual) {
      ForEach(tensor.dims, [&](const Four& at) {
        Store(FormatOf(tensor.type), numbers[at], pointers_.at(tensor.uid),
              static_cast<std::int64_t>(Place(at, tensor.strides)));
      });
      return;
    }
    if (tensor.type != CUDNN_DATA_BOOLEAN) {
      for (double& value : numbers.values) value = Stored(FormatOf(tensor.type), value);
    }
    virtual_.insert_or_assign(tensor.uid, std::move(numbers));
  }

  // One of a sequence each, or else the same for all.
  Integers Lengths(const Descriptor& operation, cudnnBackendAttributeName_t name,
                   std::int64_t batch, std::int64_t otherwise) const {
    if (!operation.Has(name)) return Integers(static_cast<std::size_t>(batch), otherwise);
    Integers lengths;
    for (const double length : Read(operation, name).values) {
      lengths.push_back(static_cast<std::int64_t>(length));
      if (lengths.back() > otherwise) Violate("a sequence that is longer than its tensor");
    }
    if (lengths.size() != static_cast<std::size_t>(batch)) Unknown("lengths of another batch");
    return lengths;
  }

 private:
  std::map<std::int64_t, void*> pointers_;
  std::map<std::int64_t, double> scalars_;  // by value
  std::map<std::int64_t, Numbers> virtual_ = {};
};

double Pointwise(std::int64_t mode, double x, double b, bool t) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
      return x + b;
    case CUDNN_POINTWISE_SUB:
      return x - b;
    case CUDNN_POINTWISE_MUL:
      return x * b;
    case CUDNN_POINTWISE_DIV:
      return x / b;
    case CUDNN_POINTWISE_EXP:
      return std::exp(x);
    case CUDNN_POINTWISE_LOG:
      return std::log(x);
    case CUDNN_POINTWISE_IDENTITY:
      return x;
    case CUDNN_POINTWISE_CMP_GT:
      return x > b ? 1 : 0;
    case CUDNN_POINTWISE_CMP_GE:
      return x >= b ? 1 : 0;
    case CUDNN_POINTWISE_CMP_LT:
      return x < b ? 1 : 0;
    case CUDNN_POINTWISE_CMP_LE:
      return x <= b ? 1 : 0;
    case CUDNN_POINTWISE_LOGICAL_AND:
      return x != 0 && b != 0 ? 1 : 0;
    case CUDNN_POINTWISE_LOGICAL_OR:
      return x != 0 || b != 0 ? 1 : 0;
    case CUDNN_POINTWISE_BINARY_SELECT:
      return t ? x : b;
    default:
      Unknown("pointwise mode " + std::to_string(mode));
  }
}

// Returns, as all of these do, the flops of its products.
double DoPointwise(const Descriptor& operation, Run& run) {
  const Descriptor& how = operation.Other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  RequireArithmetic(how.Integer(CUDNN_ATTR_POINTWISE_MATH_PREC),
                    {CUDNN_DATA_FLOAT, CUDNN_DATA_INT32, CUDNN_DATA_BOOLEAN});
  for (const auto alpha :
       {CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2}) {
    if (operation.Has(alpha) && operation.All<double>(alpha) != std::vector<double>{1}) {
      Unknown("pointwise operation with a factor");
    }
  }
  const std::int64_t mode = how.Integer(CUDNN_ATTR_POINTWISE_MODE);
  Numbers y(TensorDescriptor(operation.Other(CUDNN_ATTR_OPERATION_POINTWISE_YDESC)).dims);
  const auto read = [&](cudnnBackendAttributeName_t name) -> std::optional<Numbers> {
    if (!operation.Has(name)) return std::nullopt;
    Numbers in = run.Read(operation, name);
    for (std::size_t i = 0; i < y.dims.size(); ++i) {
      if (in.dims[i] != 1 && in.dims[i] != y.dims[i]) {
        Unknown("pointwise operation of such dimensions");
      }
    }
    return in;
  };
  const auto x = read(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
  const auto b = read(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  const auto t = read(CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
  ForEach(y.dims, [&](const Four& at) {
    if (mode == CUDNN_POINTWISE_GEN_INDEX) {
      y[at] = static_cast<double>(
          at.at(static_cast<std::size_t>(how.Integer(CUDNN_ATTR_POINTWISE_AXIS, -1))));
      return;
    }
    y[at] = Pointwise(mode, (*x)[x->Within(at, y.dims)], b ? (*b)[b->Within(at, y.dims)] : NAN,
                      t && (*t)[t->Within(at, y.dims)] != 0);
  });
  run.Write(operation, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, std::move(y));
  return 0;
}

// C[…][m][n] = Σ A[…][m][k] B[…][k][n]. Beyond a sequence's own m and n is the padding, and nothing
// is added up beyond its own k.
double DoMatmul(const Descriptor& operation, Run& run) {
  const Descriptor& how = operation.Other(CUDNN_ATTR_OPERATION_MATMUL_DESC);
  RequireArithmetic(how.Integer(CUDNN_ATTR_MATMUL_COMP_TYPE), {CUDNN_DATA_FLOAT});
  const double padding = how.Has(CUDNN_ATTR_MATMUL_PADDING_VALUE)
                             ? how.All<double>(CUDNN_ATTR_MATMUL_PADDING_VALUE).at(0)
                             : 0;
  const Numbers a = run.Read(operation, CUDNN_ATTR_OPERATION_MATMUL_ADESC);
  const Numbers b = run.Read(operation, CUDNN_ATTR_OPERATION_MATMUL_BDESC);
  Numbers c(TensorDescriptor(operation.Other(CUDNN_ATTR_OPERATION_MATMUL_CDESC)).dims);
  const std::int64_t k = a.dims[3];
  a.RequireWithin({c.dims[0], c.dims[1], c.dims[2], k});
  b.RequireWithin({c.dims[0], c.dims[1], k, c.dims[3]});
  if (a.dims[2] != c.dims[2] || b.dims[2] != k || b.dims[3] != c.dims[3]) {
    Unknown("product of such dimensions");
  }
  const Integers ms = run.Lengths(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC,
                                  c.dims[0], c.dims[2]);
  const Integers ns = run.Lengths(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC,
                                  c.dims[0], c.dims[3]);
  const Integers ks =
      run.Lengths(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, c.dims[0], k);
  ForEach(c.dims, [&](const Four& at) {
    const auto sequence = static_cast<std::size_t>(at[0]);
    if (at[2] >= ms[sequence] || at[3] >= ns[sequence]) {
      c[at] = padding;
      return;
    }
    const double* row = &a.values[Place(
        {at[0] * a.dims[0] / c.dims[0], at[1] * a.dims[1] / c.dims[1], at[2], 0}, a.strides)];
    const double* column = &b.values[Place(
        {at[0] * b.dims[0] / c.dims[0], at[1] * b.dims[1] / c.dims[1], 0, at[3]}, b.strides)];
    double sum = 0;
    for (std::int64_t i = 0; i < ks[sequence]; ++i) sum += row[i] * column[i * c.dims[3]];
    c[at] = sum;
  });
  const double flops = 2 * static_cast<double>(Product(c.dims) * k);
  run.Write(operation, CUDNN_ATTR_OPERATION_MATMUL_CDESC, std::move(c));
  return flops;
}

double DoReduction(const Descriptor& operation, Run& run) {
  const Descriptor& how = operation.Other(CUDNN_ATTR_OPERATION_REDUCTION_DESC);
  RequireArithmetic(how.Integer(CUDNN_ATTR_REDUCTION_COMP_TYPE), {CUDNN_DATA_FLOAT});
  const std::int64_t kind = how.Integer(CUDNN_ATTR_REDUCTION_OPERATOR);
  const Numbers x = run.Read(operation, CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
  Numbers y(TensorDescriptor(operation.Other(CUDNN_ATTR_OPERATION_REDUCTION_YDESC)).dims);
  y.RequireWithin(x.dims);
  std::fill(y.values.begin(), y.values.end(), kind == CUDNN_REDUCE_TENSOR_MAX ? -INFINITY : 0.0);
  ForEach(x.dims, [&](const Four& at) {
    double& result = y[y.Within(at, x.dims)];
    switch (kind) {
      case CUDNN_REDUCE_TENSOR_ADD:
        result += x[at];
        break;
      case CUDNN_REDUCE_TENSOR_MAX:
        result = std::max(result, x[at]);
        break;
      case CUDNN_REDUCE_TENSOR_AMAX:
        result = std::max(result, std::fabs(x[at]));
        break;
      default:
        Unknown("reduction " + std::to_string(kind));
    }
  });
  run.Write(operation, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, std::move(y));
  return 0;
}

// Reshapes a tensor: the same memory, seen by other dimensions and strides.
double DoReshape(const Descriptor& operation, Run& run) {
  const TensorDescriptor from(operation.Other(CUDNN_ATTR_OPERATION_RESHAPE_XDESC));
  const TensorDescriptor to(operation.Other(CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
  const Numbers x = run.Read(operation, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
  std::map<std::size_t, double> memory;
  ForEach(from.dims, [&](const Four& at) { memory[Place(at, from.strides)] = x[at]; });
  Numbers y(to.dims);
  if (memory.size() != y.values.size() || x.values.size() != y.values.size()) {
    Unknown("reshaping of what overlaps, or into another count");
  }
  ForEach(to.dims, [&](const Four& at) { y[at] = memory.at(Place(at, to.strides)); });
  run.Write(operation, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, std::move(y));
  return 0;
}

// Keys or values (batch, head, token, element) out of pages (page, head, token of it, element);
// what is beyond a sequence's length is no number.
Numbers FromPages(const Numbers& pages, const Numbers& table, const Integers& lengths,
                  std::int64_t tokens) {
  const std::int64_t batch = table.dims[0];
  Numbers all({batch, pages.dims[1], tokens, pages.dims[3]});
  ForEach(all.dims, [&](const Four& at) {
    if (at[2] >= lengths[static_cast<std::size_t>(at[0])]) {
      all[at] = NAN;
      return;
    }
    const std::int64_t entry = at[2] / pages.dims[2];
    const auto page =
        static_cast<std::int64_t>(entry < table.dims[2] ? table[{at[0], 0, entry, 0}] : -1);
    if (page < 0 || page >= pages.dims[0]) {
      Violate("a page that there isn't");
      return;
    }
    all[at] = pages[{page, at[1], at[2] % pages.dims[2], at[3]}];
  });
  return all;
}

// The strides of its output say which of the last two dimensions is the element, and which the
// token.
double DoPagedCacheLoad(const Descriptor& operation, Run& run) {
  const TensorDescriptor to(operation.Other(CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC));
  const bool transposed = to.strides[3] != 1;
  if (to.strides[transposed ? 2 : 3] != 1) Unknown("cache of such strides");
  const std::int64_t tokens = to.dims[transposed ? 3 : 2];
  const Integers lengths = run.Lengths(
      operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC, to.dims[0], tokens);
  const Numbers all = FromPages(
      run.Read(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC),
      run.Read(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC), lengths, tokens);
  Numbers y(to.dims);
  ForEach(all.dims, [&](Four at) {
    const double value = all[at];
    if (transposed) std::swap(at[2], at[3]);
    y[at] = value;
  });
  run.Write(operation, CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, std::move(y));
  return 0;
}

// O = softmax(scale · Q Kᵀ) V, and log Σ exp of each row. The weights are rounded as Q is stored.
double DoSdpaForward(const Descriptor& operation, Run& run) {
  const TensorDescriptor query(operation.Other(CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC));
  const Numbers q = run.Read(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC);
  Numbers k = run.Read(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC);
  Numbers v = run.Read(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC);
  const double scale = run.Read(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC).values.at(0);
  Numbers o(TensorDescriptor(operation.Other(CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC)).dims);
  Numbers stats({q.dims[0], q.dims[1], q.dims[2], 1});
  const std::int64_t batch = q.dims[0];
  const Integers queries =
      run.Lengths(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, batch, q.dims[2]);
  Integers keys;
  const auto by_pages = [&](Numbers& pages, cudnnBackendAttributeName_t name) {
    if (!operation.Has(name)) return;
    if (!operation.Has(CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC)) {
      Unknown("pages without lengths");
    }
    const Numbers table = run.Read(operation, name);
    const std::int64_t tokens = table.dims[2] * pages.dims[2];
    keys = run.Lengths(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, batch, tokens);
    pages = FromPages(pages, table, keys, tokens);
  };
  by_pages(k, CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_KDESC);
  by_pages(v, CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_VDESC);
  if (keys.empty()) {
    keys = run.Lengths(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, batch, k.dims[2]);
  }
  if (k.dims[2] != v.dims[2] || k.dims[3] != q.dims[3] ||
      o.dims != Four{batch, q.dims[1], q.dims[2], v.dims[3]}) {
    Unknown("attention of such dimensions");
  }
  k.RequireWithin({batch, q.dims[1], k.dims[2], k.dims[3]});
  v.RequireWithin({batch, q.dims[1], v.dims[2], v.dims[3]});
  ForEach({batch, q.dims[1], q.dims[2], 1}, [&](const Four& row) {
    const auto sequence = static_cast<std::size_t>(row[0]);
    const std::int64_t k_head = row[1] * k.dims[1] / q.dims[1];
    const std::int64_t v_head = row[1] * v.dims[1] / q.dims[1];
    if (row[2] >= queries[sequence]) return;
    std::vector<double> weights;
    for (std::int64_t j = 0; j < keys[sequence]; ++j) {
      double dot = 0;
      for (std::int64_t d = 0; d < q.dims[3]; ++d) {
        dot += q[{row[0], row[1], row[2], d}] * k[{row[0], k_head, j, d}];
      }
      weights.push_back(scale * dot);
    }
    const double largest = *std::max_element(weights.begin(), weights.end());
    double total = 0;
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    stats[{row[0], row[1], row[2], 0}] = largest + std::log(total);
    for (std::int64_t d = 0; d < o.dims[3]; ++d) {
      double sum = 0;
      for (std::int64_t j = 0; j < keys[sequence]; ++j) {
        sum += Stored(FormatOf(query.type), weights[static_cast<std::size_t>(j)] / total) *
               v[{row[0], v_head, j, d}];
      }
      o[{row[0], row[1], row[2], d}] = sum;
    }
  });
  const double flops =
      2 * static_cast<double>(Product(q.dims) / q.dims[3] * k.dims[2] * (q.dims[3] + o.dims[3]));
  run.Write(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, std::move(o));
  if (operation.Has(CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC)) {
    run.Write(operation, CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, std::move(stats));
  }
  return flops;
}

struct Attribute {
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type = CUDNN_TYPE_BACKEND_DESCRIPTOR;
  bool optional = false;
  bool output = false;  // of an operation, whose other tensors are inputs
};
constexpr bool kOptional = true;
constexpr bool kOutput = true;

// A kind of descriptor, what can be set of it, and what it does if it is an operation.
struct Kind {
  cudnnBackendDescriptorType_t type;
  std::vector<Attribute> attributes = {};
  double (*perform)(const Descriptor&, Run&) = nullptr;
};

const Kind& KindOf(cudnnBackendDescriptorType_t type) {
  constexpr auto kOther = CUDNN_TYPE_BACKEND_DESCRIPTOR;
  static const std::vector<Kind> kKinds = {
      {CUDNN_BACKEND_TENSOR_DESCRIPTOR,
       {{CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, kOptional},
        {CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, kOptional}}},
      {CUDNN_BACKEND_POINTWISE_DESCRIPTOR,
       {{CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE},
        {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, kOptional}}},
      {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR},
        {CUDNN_ATTR_OPERATION_POINTWISE_XDESC},
        {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_POINTWISE_TDESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, kOther, !kOptional, kOutput},
        {CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_TYPE_FLOAT, kOptional},
        {CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, CUDNN_TYPE_FLOAT, kOptional}},
       DoPointwise},
      {CUDNN_BACKEND_MATMUL_DESCRIPTOR,
       {{CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_MATMUL_PADDING_VALUE, CUDNN_TYPE_DOUBLE, kOptional}}},
      {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_MATMUL_DESC},
        {CUDNN_ATTR_OPERATION_MATMUL_ADESC},
        {CUDNN_ATTR_OPERATION_MATMUL_BDESC},
        {CUDNN_ATTR_OPERATION_MATMUL_CDESC, kOther, !kOptional, kOutput},
        {CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, kOther, kOptional}},
       DoMatmul},
      {CUDNN_BACKEND_REDUCTION_DESCRIPTOR,
       {{CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE},
        {CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE},
        {CUDNN_ATTR_REDUCTION_IS_DETERMINISTIC, CUDNN_TYPE_BOOLEAN, kOptional}}},
      {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_REDUCTION_DESC},
        {CUDNN_ATTR_OPERATION_REDUCTION_XDESC},
        {CUDNN_ATTR_OPERATION_REDUCTION_YDESC, kOther, !kOptional, kOutput}},
       DoReduction},
      {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_RESHAPE_XDESC},
        {CUDNN_ATTR_OPERATION_RESHAPE_YDESC, kOther, !kOptional, kOutput}},
       DoReshape},
      {CUDNN_BACKEND_OPERATION_PAGED_CACHE_LOAD_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_CONTAINER_DESC},
        {CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_PAGE_TABLE_DESC},
        {CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_SEQUENCE_DESC},
        {CUDNN_ATTR_OPERATION_PAGED_CACHE_LOAD_YDESC, kOther, !kOptional, kOutput}},
       DoPagedCacheLoad},
      {CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, kOther, !kOptional, kOutput},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC, kOther, kOptional, kOutput},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_KDESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_PAGE_TABLE_VDESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_QDESC, kOther, kOptional},
        {CUDNN_ATTR_OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, kOther, kOptional}},
       DoSdpaForward},
      {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR,
       {{CUDNN_ATTR_OPERATIONGRAPH_OPS}, {CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE}}},
      {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR,
       {{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH},
        {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE}}},
      {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
       {{CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG},
        {CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, kOptional}}},
      {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR,
       {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64},
        {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR},
        {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR}}},
      // Filled by the library alone.
      {CUDNN_BACKEND_ENGINECFG_DESCRIPTOR},
      {CUDNN_BACKEND_ENGINE_DESCRIPTOR},
      {CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR}};
  for (const Kind& kind : kKinds) {
    if (kind.type == type) return kind;
  }
  Unknown("descriptor " + std::to_string(type) + " of cuDNN");
}

const std::vector<Shared>& OperationsOf(const Descriptor& graph) {
  return graph.All<Shared>(CUDNN_ATTR_OPERATIONGRAPH_OPS);
}

// The tensors of an operation, inputs or outputs.
std::vector<TensorDescriptor> TensorsOf(const Descriptor& operation, bool outputs) {
  std::vector<TensorDescriptor> tensors;
  for (const Attribute& attribute : KindOf(operation.type).attributes) {
    if (attribute.output != outputs || attribute.type != CUDNN_TYPE_BACKEND_DESCRIPTOR) continue;
    if (!operation.Has(attribute.name)) continue;
    const Descriptor& other = operation.Other(attribute.name);
    if (other.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) tensors.emplace_back(other);
  }
  return tensors;
}

// The operations in an order in which each finds its inputs; and what is wrong with the graph.
struct Order {
  std::vector<Shared> operations = {};
  std::string fault = {};
};
Order OrderOf(const Descriptor& graph) {
  Order order;
  std::map<std::int64_t, Shared> makers;
  std::map<std::int64_t, TensorDescriptor> known;
  for (const Shared& operation : OperationsOf(graph)) {
    for (const bool outputs : {false, true}) {
      for (const TensorDescriptor& tensor : TensorsOf(*operation, outputs)) {
        const auto [found, is_new] = known.emplace(tensor.uid, tensor);
        if (found->second.dims != tensor.dims || found->second.strides != tensor.strides ||
            found->second.type != tensor.type) {
          order.fault = "two tensors of one uid";
        }
        if (outputs && !makers.emplace(tensor.uid, operation).second) {
          order.fault = "a tensor that two operations make";
        }
      }
    }
  }
  for (const auto& [uid, tensor] : known) {
    if (tensor.is_virtual && !makers.contains(uid))
      order.fault = "a virtual tensor that none makes";
  }
  std::set<const Descriptor*> done;
  while (order.fault.empty() && done.size() < OperationsOf(graph).size()) {
    const std::size_t before = done.size();
    for (const Shared& operation : OperationsOf(graph)) {
      bool ready = !done.contains(operation.get());
      for (const TensorDescriptor& tensor : TensorsOf(*operation, false)) {
        const auto maker = makers.find(tensor.uid);
        if (maker != makers.end() && !done.contains(maker->second.get())) ready = false;
      }
      if (!ready) continue;
      done.insert(operation.get());
      order.operations.push_back(operation);
    }
    if (done.size() == before) order.fault = "operations that wait for each other";
  }
  return order;
}

// The tensors of a graph that lie in memory, or are given by value.
std::map<std::int64_t, TensorDescriptor> OutsideOf(const Descriptor& graph) {
  std::map<std::int64_t, TensorDescriptor> outside;
  for (const Shared& operation : OperationsOf(graph)) {
    for (const bool outputs : {false, true}) {
      for (const TensorDescriptor& tensor : TensorsOf(*operation, outputs)) {
        if (!tensor.is_virtual) outside.emplace(tensor.uid, tensor);
      }
    }
  }
  return outside;
}

std::int64_t WorkspaceOf(std::int64_t plan) {
  const auto at = static_cast<std::size_t>(plan);
  return at < faults.workspace_bytes.size() ? faults.workspace_bytes[at] : 1024;
}

// A plan's configuration: always the same engine, of which a knob is the plan's number.
constexpr std::int64_t kEngine = 3;
const Descriptor& KnobOf(const Descriptor& configuration) {
  return configuration.Other(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
}
std::int64_t PlanOf(const Descriptor& configuration) {
  return KnobOf(configuration).Integer(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
}
Held Configuration(const Shared& graph, std::int64_t plan) {
  const auto make = [](cudnnBackendDescriptorType_t type,
                       std::map<cudnnBackendAttributeName_t, Value> values) {
    return std::make_shared<Descriptor>(
        Descriptor{.type = type, .final = true, .values = std::move(values)});
  };
  const Shared engine = make(CUDNN_BACKEND_ENGINE_DESCRIPTOR,
                             {{CUDNN_ATTR_ENGINE_OPERATION_GRAPH, std::vector<Shared>{graph}},
                              {CUDNN_ATTR_ENGINE_GLOBAL_INDEX, Integers{kEngine}}});
  const Shared knob =
      make(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR,
           {{CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, Integers{CUDNN_KNOB_TYPE_KERNEL_CFG}},
            {CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, Integers{plan}}});
  return make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
              {{CUDNN_ATTR_ENGINECFG_ENGINE, std::vector<Shared>{engine}},
               {CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, std::vector<Shared>{knob}}});
}

Value ValueOf(cudnnBackendAttributeType_t type, std::int64_t count, const void* from) {
  const auto all = [&]<class T>(T) {
    const auto* begin = static_cast<const T*>(from);
    return std::vector<T>(begin, begin + count);
  };
  switch (type) {
    case CUDNN_TYPE_INT64:
      return all(std::int64_t{});
    case CUDNN_TYPE_BOOLEAN: {
      const auto values = all(static_cast<unsigned char>(0));
      return Integers(values.begin(), values.end());
    }
    case CUDNN_TYPE_DATA_TYPE:
    case CUDNN_TYPE_POINTWISE_MODE:
    case CUDNN_TYPE_REDUCTION_OPERATOR_TYPE:
    case CUDNN_TYPE_HEUR_MODE: {
      const auto values = all(int{});
      return Integers(values.begin(), values.end());
    }
    case CUDNN_TYPE_FLOAT: {
      const auto values = all(float{});
      return std::vector<double>(values.begin(), values.end());
    }
    case CUDNN_TYPE_DOUBLE:
      return all(double{});
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
      return all(static_cast<void*>(nullptr));
    case CUDNN_TYPE_BACKEND_DESCRIPTOR: {
      std::vector<Shared> others;
      for (void* other : all(static_cast<void*>(nullptr))) {
        if (!IsAlive(other, "cuDNN descriptor") || !Of(other)->final) {
          Violate("a descriptor was referred to that is none, or not final");
        } else {
          others.push_back(Of(other));
        }
      }
      return others;
    }
    default:
      Unknown("such type of an attribute");
  }
}

// What is wrong with a descriptor as it is now; "" if nothing.
std::string FaultOf(const Descriptor& descriptor) {
  for (const Attribute& attribute : KindOf(descriptor.type).attributes) {
    if (!attribute.optional && !descriptor.Has(attribute.name)) {
      return "a descriptor lacks attribute " + std::to_string(attribute.name);
    }
  }
  if (descriptor.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) {
    const TensorDescriptor tensor(descriptor);
    if (descriptor.All<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS).size() !=
            descriptor.All<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES).size() ||
        *std::min_element(tensor.dims.begin(), tensor.dims.end()) < 1) {
      return "a tensor of such dimensions";
    }
    if (tensor.is_by_value && Product(tensor.dims) != 1) return "more than one number by value";
  }
  if (descriptor.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) return OrderOf(descriptor).fault;
  if (descriptor.type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR &&
      descriptor.All<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size() !=
          descriptor.All<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).size()) {
    return "a pack of so many uids and another count of pointers";
  }
  return {};
}

template <class T>
cudnnStatus_t Give(const std::vector<T>& values, std::int64_t room, std::int64_t* count, void* to) {
  if (count != nullptr) *count = static_cast<std::int64_t>(values.size());
  if (to == nullptr || room == 0) return CUDNN_STATUS_SUCCESS;
  const std::size_t given = std::min(values.size(), static_cast<std::size_t>(room));
  std::copy_n(values.begin(), given, static_cast<T*>(to));
  return CUDNN_STATUS_SUCCESS;
}
// Into the descriptors that the caller made for that.
cudnnStatus_t Give(const std::vector<Held>& values, cudnnBackendDescriptorType_t type,
                   std::int64_t room, std::int64_t* count, void* to) {
  if (count != nullptr) *count = static_cast<std::int64_t>(values.size());
  for (std::size_t i = 0;
       to != nullptr && i < std::min(values.size(), static_cast<std::size_t>(room)); ++i) {
    void* into = static_cast<void**>(to)[i];
    if (!IsAlive(into, "cuDNN descriptor") || Of(into)->type != type) {
      return Wrong("a descriptor of another type is to be filled");
    }
    Of(into) = values[i];
  }
  return CUDNN_STATUS_SUCCESS;
}
std::vector<Held> Copies(const Descriptor& of, cudnnBackendAttributeName_t name) {
  std::vector<Held> copies;
  for (const Shared& one : of.All<Shared>(name))
    copies.push_back(std::make_shared<Descriptor>(*one));
  return copies;
}

}  // namespace

extern "C" {

std::size_t cudnnGetVersion() { return kVersion; }
const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "a status of the stand-in";
}
void cudnnGetLastErrorString(char* message, std::size_t size) {
  std::snprintf(message, size, "%s", last_error.c_str());
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  STANDIN_CALL;
  if (faults.compute_capability < 75)
    return CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH;  // since 9.11
  auto* made = new Handle{.device = CurrentDevice()};
  *handle = reinterpret_cast<cudnnHandle_t>(Born(made, "cuDNN handle"));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  STANDIN_CALL;
  if (!Dies(handle, "cuDNN handle")) return CUDNN_STATUS_BAD_PARAM;
  delete reinterpret_cast<Handle*>(handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  STANDIN_CALL;
  auto& own = *reinterpret_cast<Handle*>(handle);
  if (standin::Of(stream).device != own.device) return Wrong("a stream of another device");
  own.stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  STANDIN_CALL;
  *stream = reinterpret_cast<Handle*>(handle)->stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* descriptor) {
  STANDIN_CALL;
  KindOf(type);  // which it must know
  *descriptor =
      Born(new Held(std::make_shared<Descriptor>(Descriptor{.type = type})), "cuDNN descriptor");
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  STANDIN_CALL;
  if (!Dies(descriptor, "cuDNN descriptor")) return CUDNN_STATUS_BAD_PARAM;
  delete &Of(descriptor);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t count,
                                       const void* values) {
  STANDIN_CALL;
  if (!IsAlive(descriptor, "cuDNN descriptor")) return Wrong("a descriptor that is none");
  Descriptor& own = *Of(descriptor);
  if (own.final) return Wrong("a descriptor was changed after it was final");
  for (const Attribute& attribute : KindOf(own.type).attributes) {
    if (attribute.name != name) continue;
    if (attribute.type != type) return Wrong("an attribute of another type");
    if (count < 1 || values == nullptr) return Wrong("an attribute without a value");
    own.values[name] = ValueOf(type, count, values);
    return CUDNN_STATUS_SUCCESS;
  }
  Unknown("attribute " + std::to_string(name) + " of descriptor " + std::to_string(own.type));
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  STANDIN_CALL;
  if (!IsAlive(descriptor, "cuDNN descriptor")) return Wrong("a descriptor that is none");
  Descriptor& own = *Of(descriptor);
  if (own.final) return Wrong("a descriptor was finalized twice");
  if (const std::string fault = FaultOf(own); !fault.empty()) return Wrong(fault);
  if (own.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && faults.unsupported) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "nothing is supported");
  }
  if (own.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
      PlanOf(own.Other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)) == faults.unbuildable_plan) {
    return Refuse(CUDNN_STATUS_NOT_SUPPORTED, "this plan can't be built");
  }
  own.final = true;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, std::int64_t room,
                                       std::int64_t* count, void* to) {
  STANDIN_CALL;
  if (!IsAlive(descriptor, "cuDNN descriptor")) return Wrong("a descriptor that is none");
  const Descriptor& own = *Of(descriptor);
  if (!own.final) return Wrong("a descriptor was asked before it was final");
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      const Shared& graph = own.All<Shared>(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).at(0);
      std::vector<Held> plans;
      for (std::size_t plan = 0; plan < faults.algorithms.size(); ++plan) {
        plans.push_back(Configuration(graph, static_cast<std::int64_t>(plan)));
      }
      return Give(plans, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, room, count, to);
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      return Give(Copies(own, name), CUDNN_BACKEND_ENGINE_DESCRIPTOR, room, count, to);
    case CUDNN_ATTR_ENGINECFG_KNOB_CHOICES:
      // cuDNN 9.19 counts them only where there is room for them, and so does this.
      if (room == 0) return Give(std::vector<int>{}, room, count, to);
      return Give(Copies(own, name), CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, room, count, to);
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
      return Give(std::vector<int>{static_cast<int>(own.Integer(name))}, room, count, to);
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      return Give(own.All<std::int64_t>(name), room, count, to);
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
      return Give(std::vector<int>{}, room, count, to);
    case CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE:
      return Give(Integers{WorkspaceOf(PlanOf(own))}, room, count, to);
    case CUDNN_ATTR_ENGINECFG_SHARED_MEMORY_USED:
      return Give(std::vector<std::int32_t>{0}, room, count, to);
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      return Give(Integers{WorkspaceOf(PlanOf(own.Other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)))},
                  room, count, to);
    default:
      Unknown("question for attribute " + std::to_string(name));
  }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan_descriptor,
                                  cudnnBackendDescriptor_t pack_descriptor) {
  STANDIN_CALL;
  for (void* one : {plan_descriptor, pack_descriptor}) {
    if (!IsAlive(one, "cuDNN descriptor") || !Of(one)->final)
      return Wrong("a plan that isn't final");
  }
  const auto& own = *reinterpret_cast<Handle*>(handle);
  if (own.stream == nullptr) return Wrong("a plan on the default stream");
  const Descriptor& configuration =
      Of(plan_descriptor)->Other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  const Descriptor& pack = *Of(pack_descriptor);
  const Shared graph = configuration.Other(CUDNN_ATTR_ENGINECFG_ENGINE)
                           .All<Shared>(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)
                           .at(0);
  const std::int64_t plan = PlanOf(configuration);
  if (graph->All<void*>(CUDNN_ATTR_OPERATIONGRAPH_HANDLE).at(0) != handle) {
    return Wrong("a graph of another handle");
  }

  std::map<std::int64_t, void*> pointers;
  std::map<std::int64_t, double> scalars;
  std::map<std::int64_t, TensorDescriptor> expected = OutsideOf(*graph);
  const Integers& uids = pack.All<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  for (std::size_t i = 0; i < uids.size(); ++i) {
    void* pointer = pack.All<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)[i];
    const auto found = expected.find(uids[i]);
    if (found == expected.end()) {
      return Wrong("a pack has uid " + std::to_string(uids[i]) + " twice, or the graph hasn't");
    }
    const TensorDescriptor& tensor = found->second;
    if (tensor.is_by_value) {
      if (IsDevice(pointer, 1)) return Wrong("a number by value that lies on a device");
      scalars[tensor.uid] = assay::Tensor{.format = FormatOf(tensor.type), .data = pointer}[0];
    } else {
      if (!IsDevice(pointer, tensor.Bytes()) || DeviceOf(pointer) != own.device ||
          reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(tensor.alignment) !=
              0) {
        return Wrong("tensor " + std::to_string(tensor.uid) +
                     " reaches beyond the device's memory, or isn't aligned");
      }
      pointers[tensor.uid] = pointer;
    }
    expected.erase(found);
  }
  if (!expected.empty())
    return Wrong("a pack lacks uid " + std::to_string(expected.begin()->first));

  const auto workspace_bytes = static_cast<std::size_t>(WorkspaceOf(plan));
  void* workspace = pack.All<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE).at(0);
  if (!IsDevice(workspace, workspace_bytes)) return Wrong("a workspace that is too small");
  if (plan == faults.failing_algorithm) {
    return Refuse(CUDNN_STATUS_EXECUTION_FAILED, "this plan fails");
  }

  const bool spoil = plan == faults.wrong_algorithm;
  const double factor = faults.algorithms.at(static_cast<std::size_t>(plan));
  const Order order = OrderOf(*graph);
  standin::Of(own.stream).Put([=](StreamState& stream) {
    Run run(pointers, scalars);
    std::memset(workspace, 0xa5, workspace_bytes);
    double flops = 0;
    for (const Shared& operation : order.operations) {
      flops += KindOf(operation->type).perform(*operation, run);
      if (!spoil) continue;
      for (const TensorDescriptor& tensor : TensorsOf(*operation, true)) {
        if (tensor.is_virtual) continue;
        const Format format = FormatOf(tensor.type);
        void* out = pointers.at(tensor.uid);
        const double right = assay::Tensor{.format = format, .data = out}[0];
        Store(format, 2 * right + (right < 0 ? -1 : 1), out, 0);
      }
    }
    std::memset(workspace, 0xa5, workspace_bytes);
    stream.Takes(factor * (kLaunch_s + flops / kFlopsPerSecond));
    return true;
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"

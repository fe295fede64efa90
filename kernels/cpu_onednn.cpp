#include "kernels/cpu_onednn.h"

#include <fmt/core.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl_debug.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "kernels/cpu_crew.h"
#include "kernels/inputs.h"
#include "kernels/reference.h"
#include "results/base/error.h"
#include "runner/core/memory.h"
#include "runner/core/random.h"
#include "runner/core/threads.h"

namespace assay {
namespace {

using dnnl::memory;

std::size_t At(std::int64_t index) { return static_cast<std::size_t>(index); }

// The differences between oneDNN 2 and 3.

#if DNNL_VERSION_MAJOR >= 3
using Softmax = dnnl::softmax_forward;

dnnl::matmul::primitive_desc MatmulOf(const dnnl::engine& engine, const memory::desc& a,
                                      const memory::desc& b, const memory::desc& c,
                                      const dnnl::primitive_attr& attributes) {
  return {engine, a, b, c, attributes};
}

Softmax::primitive_desc SoftmaxOf(const dnnl::engine& engine, const memory::desc& from,
                                  const memory::desc& to, const dnnl::primitive_attr& attributes) {
  return {
      engine,    dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, from, to, 1,
      attributes};
}

void AppendScale(dnnl::post_ops& after, float scale) {
  after.append_eltwise(dnnl::algorithm::eltwise_linear, scale, 0.0F);
}

std::string BlocksOf(const memory::desc& desc) {
  if (desc.get_format_kind() != memory::format_kind::blocked) return "opaque";
  std::string blocks;
  const memory::dims sizes = desc.get_inner_blks();
  const memory::dims dimensions = desc.get_inner_idxs();
  for (std::size_t i = 0; i < At(desc.get_inner_nblks()); ++i) {
    blocks += fmt::format("{}{}", sizes[i], static_cast<char>('a' + dimensions[i]));
  }
  return blocks;
}
#else
using Softmax = dnnl::softmax_v2_forward;

dnnl::matmul::primitive_desc MatmulOf(const dnnl::engine& engine, const memory::desc& a,
                                      const memory::desc& b, const memory::desc& c,
                                      const dnnl::primitive_attr& attributes) {
  return {dnnl::matmul::desc(a, b, c), attributes, engine};
}

Softmax::primitive_desc SoftmaxOf(const dnnl::engine& engine, const memory::desc& from,
                                  const memory::desc& to, const dnnl::primitive_attr& attributes) {
  return {Softmax::desc(dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, from,
                        to, 1),
          attributes, engine};
}

void AppendScale(dnnl::post_ops& after, float scale) {
  after.append_eltwise(1.0F, dnnl::algorithm::eltwise_linear, scale, 0.0F);
}

std::string BlocksOf(const memory::desc& desc) {
  if (desc.data.format_kind != dnnl_blocked) return "opaque";
  std::string blocks;
  const dnnl_blocking_desc_t& blocking = desc.data.format_desc.blocking;
  for (int i = 0; i < blocking.inner_nblks; ++i) {
    blocks += fmt::format("{}{}", blocking.inner_blks[i],
                          static_cast<char>('a' + blocking.inner_idxs[i]));
  }
  return blocks;
}
#endif

std::string LibraryVersion() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

std::string IsaName() {
  // "cpu_isa_avx512_core_bf16" without what every name begins with.
  std::string name = dnnl_cpu_isa2str(dnnl_get_effective_cpu_isa());
  const std::string prefix = "cpu_isa_";
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// Copies of one operand in a row, each beginning on a cache line of its own.
class Copies {
 public:
  Copies() = default;
  Copies(std::int64_t bytes, std::int64_t count)
      : count_(count),
        bytes_(bytes),
        stride_((bytes + 63) / 64 * 64),
        buffer_(At(stride_ * count)) {}

  std::int64_t Count() const { return count_; }
  std::int64_t Bytes() const { return stride_ * count_; }
  std::byte* operator[](std::int64_t i) const { return buffer_.Begin() + stride_ * (i % count_); }
  std::optional<std::int64_t> HugePagePercent() const { return buffer_.HugePagePercent(); }

  // Fills every copy with the same numbers; each page is first touched by the thread that fills it.
  void Fill(Format format, const std::string& inputs, std::uint64_t seed, std::int64_t elements) {
    for (std::int64_t i = 0; i < count_; ++i) {
      assay::Fill(format, inputs, seed, elements, (*this)[i], Crew::For);
    }
  }
  // Sets all bits, which is NaN in every floating-point format, so that what is never written is
  // found.
  void Poison() {
    Crew::For(count_ * stride_, [&](std::int64_t begin, std::int64_t end) {
      std::memset(buffer_.Begin() + begin, 0xff, At(end - begin));
    });
  }

  // The index of the first of copies 0 … used - 1 that differs from copy `from` in any bit, if one
  // does.
  std::optional<std::int64_t> FirstUnlike(std::int64_t from, std::int64_t used) const {
    std::vector<char> unlike(At(used));
    Crew::For(used, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        unlike[At(i)] = std::memcmp((*this)[i], (*this)[from], At(bytes_)) != 0;
      }
    });
    const auto found = std::find(unlike.begin(), unlike.end(), 1);
    if (found == unlike.end()) return std::nullopt;
    return found - unlike.begin();
  }

 private:
  std::int64_t count_ = 0;
  std::int64_t bytes_ = 0;
  std::int64_t stride_ = 0;
  Pages buffer_;
};

// The choice among several sets of operands: iterations take them in turn.
class Rotation {
 public:
  explicit Rotation(std::int64_t sets) : sets_(sets) {}
  std::int64_t Sets() const { return sets_; }
  std::int64_t Next() {
    last_ = done_++ % sets_;
    return last_;
  }
  std::int64_t Last() const { return last_; }

  // The sets hold the same inputs, so that every output made so far must be the same, bit for bit:
  // the last is checked against the reference, the others against the last.
  void Hold(const Copies& outputs, Checked& checked) const {
    const std::int64_t used = std::min(done_, outputs.Count());
    const std::optional<std::int64_t> unlike = outputs.FirstUnlike(last_, used);
    if (!unlike) return;
    ++checked.wrong;
    if (checked.what) return;
    checked.what =
        fmt::format("operand set {} of {} gave another result than set {}", *unlike, sets_, last_);
  }

 private:
  std::int64_t sets_;
  std::int64_t done_ = 0;
  std::int64_t last_ = 0;
};

// The number of copies, of `bytes` each, that takes at least three times the last-level cache.
std::int64_t ColdCopies(std::int64_t bytes) {
  constexpr std::int64_t kUnknown = std::int64_t{32} << 20;  // where the system doesn't say
  const std::int64_t cache = LastLevelCacheBytes();
  const std::int64_t wanted = 3 * (cache > 0 ? cache : kUnknown);
  return std::max<std::int64_t>(1, (wanted + bytes - 1) / bytes);
}

// The reason why that much memory can't be had, or nothing: a case may take half of what is
// available.
std::optional<Skipped> TooLargeForHost(std::int64_t bytes) {
  const std::optional<std::int64_t> available = AvailableMemory();
  if (!available || bytes <= *available) return std::nullopt;
  return Skipped{.reason = fmt::format("needs {:.1f} GiB of memory, of which {:.1f} are available",
                                       std::ldexp(static_cast<double>(bytes), -30),
                                       std::ldexp(static_cast<double>(*available), -30)),
                 .remedy = "choose a smaller size, or a machine with more memory"};
}

memory::data_type TypeOf(Format format) {
  switch (format) {
    case Format::kF32:
      return memory::data_type::f32;
    case Format::kBf16:
      return memory::data_type::bf16;
    case Format::kF16:
      return memory::data_type::f16;
    case Format::kS32:
      return memory::data_type::s32;
    case Format::kS8:
      return memory::data_type::s8;
    case Format::kU8:
      return memory::data_type::u8;
    case Format::kF64:
    case Format::kTf32:
    case Format::kF8E4m3:
    case Format::kF8E5m2:
    case Format::kF4E2m1:
    case Format::kUe8m0:
    case Format::kUe4m3:
      break;
  }
  return memory::data_type::undef;
}

// The formats in which the operands of a dtype's GEMM are stored.
struct Formats {
  Format a = {};
  Format b = {};
  Format c = {};
};

// The formats of a dtype's operands and result; nothing where oneDNN has no such product here.
std::optional<Formats> FormatsOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return Formats{.a = Format::kF32, .b = Format::kF32, .c = Format::kF32};
    // The product is stored in the operands' format, as frameworks do.
    case Dtype::kBf16:
      return Formats{.a = Format::kBf16, .b = Format::kBf16, .c = Format::kBf16};
    case Dtype::kF16:
      return Formats{.a = Format::kF16, .b = Format::kF16, .c = Format::kF16};
    // u8 by s8 is the only combination that oneDNN 2 and every x86 dot instruction share.
    case Dtype::kInt8:
      return Formats{.a = Format::kU8, .b = Format::kS8, .c = Format::kS32};
    case Dtype::kF64:
    case Dtype::kTf32:
    case Dtype::kFp8E4m3:
    case Dtype::kFp8E5m2:
    case Dtype::kFp8E5m2E4m3:
    case Dtype::kMxfp8:
    case Dtype::kNvfp4:
    case Dtype::kU8:
    case Dtype::kI32:
    case Dtype::kU32:
    case Dtype::kI64:
    case Dtype::kU64:
      return std::nullopt;
  }
  return std::nullopt;
}

Skipped NotOffered(const std::string& what, const std::string& why) {
  return {.reason = fmt::format("oneDNN {} has no {} on this processor{}", LibraryVersion(), what,
                                why.empty() ? "" : fmt::format(" ({})", why)),
          .remedy = "use another dtype, a newer oneDNN or another backend"};
}

Skipped OneAlgorithm() {
  return {.reason = "oneDNN has one algorithm for each shape, and chooses by itself",
          .remedy = "use algo=default, or another backend"};
}

// The attributes that all primitives have.
dnnl::primitive_attr Attributes() {
  dnnl::primitive_attr attributes;
  // A scratchpad of ours keeps allocation out of the timed span; the strict mode keeps an
  // environment variable from turning f32 into bf16 silently.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
  return attributes;
}

using Arguments = std::unordered_map<int, memory>;

std::int64_t Bytes(const memory::desc& desc) { return static_cast<std::int64_t>(desc.get_size()); }

Facts CommonFacts(const Crew& crew) {
  return {{"library", "oneDNN " + LibraryVersion()},
          {"isa", IsaName()},
          {"threads", std::int64_t{crew.Size()}},
          {"pinned", crew.Pinned()}};
}

// Calls f, which calls oneDNN, and turns oneDNN's errors into ours.
template <class F>
auto Calling(const char* what, const F& f) {
  try {
    return f();
  } catch (const dnnl::error& error) {
    throw Error(fmt::format("oneDNN {} failed in {}: {} (status {}); try another dtype or shape.",
                            LibraryVersion(), what, error.what(), static_cast<int>(error.status)));
  }
}

// A matrix product. B is packed once into the layout that oneDNN likes best, outside the timed
// span, as an inference server does with weights.
class GemmWorkload : public Workload {
 public:
  static Prepared Make(const Crew& crew, const dnnl::engine& engine, const Gemm& gemm,
                       std::uint64_t seed) {
    const std::optional<Formats> formats = FormatsOf(gemm.dtype);
    const std::string what = fmt::format("{} matmul", ToText(gemm.dtype));
    if (!formats) return NotOffered(what, "");
    if (gemm.algo != "default") return OneAlgorithm();
    const Crew::Shift shift(crew);
    dnnl::matmul::primitive_desc plan;
    try {
      plan = Plan(engine, gemm, *formats);
    } catch (const dnnl::error& error) {
      return NotOffered(what, error.what());
    }
    const Sizes sizes = SizesOf(plan, gemm.cache);
    const std::int64_t plain = gemm.batch * gemm.k * gemm.n * BytesOf(formats->b);
    if (auto skipped = TooLargeForHost(sizes.Total() + plain)) return *skipped;
    return Calling("matmul", [&]() -> Prepared {
      return std::make_unique<GemmWorkload>(crew, engine, plan, gemm, *formats, sizes, seed);
    });
  }

  struct Sizes {
    std::int64_t a = 0, b = 0, c = 0, scratch = 0;  // bytes
    std::int64_t activations = 1, weights = 1;      // how many copies of A and C, and of B
    std::int64_t Total() const { return activations * (a + c) + weights * b + scratch; }
  };

  // REQUIRES: a Shift lives, as for all of preparing.
  GemmWorkload(const Crew& crew, const dnnl::engine& engine, dnnl::matmul::primitive_desc plan,
               const Gemm& gemm, Formats formats, const Sizes& sizes, std::uint64_t seed)
      : crew_(crew),
        stream_(engine),
        plan_(std::move(plan)),
        matmul_(plan_),
        gemm_(gemm),
        formats_(formats),
        a_(sizes.a, sizes.activations),
        b_(sizes.b, sizes.weights),
        c_(sizes.c, sizes.activations),
        scratch_(At(sizes.scratch)),
        rotation_(std::max(sizes.activations, sizes.weights)) {
    a_.Fill(formats.a, gemm.inputs, RandomAt(seed, 0), gemm.batch * gemm.m * gemm.k);
    c_.Poison();
    b_.Poison();  // touches the pages, so that packing doesn't pay for the system's handing them
                  // out

    const std::int64_t b_elements = gemm.batch * gemm.k * gemm.n;
    Pages plain(At(b_elements * BytesOf(formats.b)));
    Fill(formats.b, gemm.inputs, RandomAt(seed, 1), b_elements, plain.Begin(), Crew::For);
    check_.emplace(gemm, Tensor{.format = formats.b, .data = plain.Begin()}, RandomAt(seed, 2),
                   Crew::For);

    memory from(Row(gemm, gemm.k, gemm.n, formats.b), engine, plain.Begin());
    for (std::int64_t i = 0; i < rotation_.Sets(); ++i) {
      memory packed(plan_.weights_desc(), engine, b_[i]);
      if (i < sizes.weights) {
        dnnl::reorder pack(from, packed);
        const auto start = std::chrono::steady_clock::now();
        pack.execute(stream_, from, packed);
        stream_.wait();
        pack_ = std::chrono::steady_clock::now() - start;
      }
      arguments_.push_back(
          {{DNNL_ARG_SRC, memory(plan_.src_desc(), engine, a_[i])},
           {DNNL_ARG_WEIGHTS, packed},
           {DNNL_ARG_DST, memory(plan_.dst_desc(), engine, c_[i])},
           {DNNL_ARG_SCRATCHPAD, memory(plan_.scratchpad_desc(), engine, scratch_.Begin())}});
    }
    huge_page_percent_ = b_.HugePagePercent();
  }

  Batch Run(std::int64_t iterations) override {
    const Crew::Shift shift(crew_);
    return Calling("matmul", [&] {
      const auto start = std::chrono::steady_clock::now();
      for (std::int64_t i = 0; i < iterations; ++i) {
        matmul_.execute(stream_, arguments_[At(rotation_.Next())]);
        stream_.wait();
      }
      return Batch{.time = std::chrono::steady_clock::now() - start};
    });
  }

  Checked Verify() override {
    const Crew::Shift shift(crew_);
    const std::int64_t set = rotation_.Last();
    Checked checked = check_->Check({.format = formats_.a, .data = a_[set]},
                                    {.format = formats_.c, .data = c_[set]}, Crew::For);
    rotation_.Hold(c_, checked);
    return checked;
  }

  Facts Describe() const override {
    Facts facts = CommonFacts(crew_);
    facts["implementation"] = std::string(plan_.impl_info_str());
    facts["formats"] =
        fmt::format("{} x {} -> {}", ToText(formats_.a), ToText(formats_.b), ToText(formats_.c));
    const std::string blocks = BlocksOf(plan_.weights_desc());
    facts["weights_layout"] = blocks.empty() ? "plain" : "packed in blocks " + blocks;
    facts["pack_s"] = pack_.count();
    facts["rotation_sets"] = rotation_.Sets();
    facts["rotation_bytes"] = a_.Bytes() + b_.Bytes() + c_.Bytes();
    if (huge_page_percent_) facts["huge_page_percent"] = *huge_page_percent_;
    return facts;
  }

 private:
  // The descriptor of a batch of plain row-major matrices. A batch of one is described as 2-D,
  // which is what the fastest implementations take.
  static memory::desc Row(const Gemm& gemm, std::int64_t rows, std::int64_t columns,
                          Format format) {
    if (gemm.batch == 1) return {{rows, columns}, TypeOf(format), memory::format_tag::ab};
    return {{gemm.batch, rows, columns}, TypeOf(format), memory::format_tag::abc};
  }

  // Plans the product with a layout of B that oneDNN chooses.
  static dnnl::matmul::primitive_desc Plan(const dnnl::engine& engine, const Gemm& gemm,
                                           const Formats& formats) {
    const memory::dims b =
        gemm.batch == 1 ? memory::dims{gemm.k, gemm.n} : memory::dims{gemm.batch, gemm.k, gemm.n};
    return MatmulOf(engine, Row(gemm, gemm.m, gemm.k, formats.a),
                    {b, TypeOf(formats.b), memory::format_tag::any},
                    Row(gemm, gemm.m, gemm.n, formats.c), Attributes());
  }

  // The sizes and numbers of the copies that keep the operands as cold as the case asks.
  static Sizes SizesOf(const dnnl::matmul::primitive_desc& plan, const std::string& cache) {
    Sizes sizes = {.a = Bytes(plan.src_desc()),
                   .b = Bytes(plan.weights_desc()),
                   .c = Bytes(plan.dst_desc()),
                   .scratch = Bytes(plan.scratchpad_desc())};
    if (cache == "cold") {
      sizes.activations = sizes.weights = ColdCopies(sizes.a + sizes.b + sizes.c);
    } else if (cache == "weights-cold") {
      sizes.weights = ColdCopies(sizes.b);
    } else if (cache != "warm") {
      throw Error(
          fmt::format("There is no cache state '{}'; choose cold, warm or weights-cold.", cache));
    }
    return sizes;
  }

  const Crew& crew_;
  dnnl::stream stream_;
  dnnl::matmul::primitive_desc plan_;
  dnnl::matmul matmul_;
  Gemm gemm_;
  Formats formats_;
  Copies a_;
  Copies b_;
  Copies c_;
  Pages scratch_;
  Rotation rotation_;
  std::optional<GemmCheck> check_;
  Seconds pack_ = {};
  std::optional<std::int64_t> huge_page_percent_;
  std::vector<Arguments> arguments_;  // one a set
};

// Attention as three oneDNN primitives for each 64 queries of a head: scores = Q · Kᵀ / √d,
// softmax, O = P · V. The scores of a block stay in the cache of the core that made them; each core
// takes blocks of its own, on which oneDNN then runs with one thread. A block covers the keys that
// any of its queries sees, and scores that a query must not see become -∞ before the softmax: at
// most 64 keys a query are computed for nothing.
class AttentionWorkload : public Workload {
 public:
  static Prepared Make(const Crew& crew, const dnnl::engine& engine, const Attention& attention,
                       std::uint64_t seed) {
    if (attention.direction != "forward" || attention.phase != "prefill") {
      return Skipped{.reason = fmt::format("the onednn backend has no {} attention in {}",
                                           attention.direction, attention.phase),
                     .remedy = "use direction=forward and phase=prefill, or another backend"};
    }
    if (attention.algo != "default") return OneAlgorithm();
    if (attention.cache == "weights-cold") {
      return Skipped{.reason = "attention has no weights",
                     .remedy = "use cache=cold or cache=warm"};
    }
    if (attention.cache != "cold" && attention.cache != "warm") {
      throw Error(
          fmt::format("There is no cache state '{}'; choose cold or warm.", attention.cache));
    }
    const std::string what = fmt::format("{} matmul and softmax", ToText(attention.dtype));
    if (attention.dtype != Dtype::kF32 && attention.dtype != Dtype::kBf16) {
      return NotOffered(what, "");
    }
    const std::int64_t sets = SetsOf(attention);
    if (auto skipped = TooLargeForHost(sets * SetBytes(attention))) return *skipped;
    try {
      return std::make_unique<AttentionWorkload>(crew, engine, attention, sets, seed);
    } catch (const dnnl::error& error) {
      return NotOffered(what, error.what());
    }
  }

  AttentionWorkload(const Crew& crew, const dnnl::engine& engine, const Attention& attention,
                    std::int64_t sets, std::uint64_t seed)
      : crew_(crew),
        engine_(engine),
        attention_(attention),
        format_(FormatOf(attention)),
        rotation_(sets) {
    const Crew::Shift shift(crew_);
    MakeBlocks();
    const std::int64_t size = BytesOf(format_);
    const std::int64_t q = QElements(attention);
    const std::int64_t k = KElements(attention);
    const std::int64_t v = VElements(attention);
    q_ = Copies(q * size, sets);
    k_ = Copies(k * size, sets);
    v_ = Copies(v * size, sets);
    o_ = Copies(OElements(attention) * size, sets);
    q_.Fill(format_, attention.inputs, RandomAt(seed, 0), q);
    k_.Fill(format_, attention.inputs, RandomAt(seed, 1), k);
    v_.Fill(format_, attention.inputs, RandomAt(seed, 2), v);
    o_.Poison();
    check_seed_ = RandomAt(seed, 3);
    huge_page_percent_ = k_.HugePagePercent();
    for (int i = 0; i < crew_.Size(); ++i) desks_.emplace_back(*this);
  }

  Batch Run(std::int64_t iterations) override {
    const Crew::Shift shift(crew_);
    return Calling("attention", [&] {
      const auto start = std::chrono::steady_clock::now();
      for (std::int64_t i = 0; i < iterations; ++i) {
        RunOnce(rotation_.Next());
      }
      return Batch{.time = std::chrono::steady_clock::now() - start};
    });
  }

  Checked Verify() override {
    const Crew::Shift shift(crew_);
    const std::int64_t set = rotation_.Last();
    Checked checked =
        CheckAttention(attention_, {.format = format_, .data = q_[set]},
                       {.format = format_, .data = k_[set]}, {.format = format_, .data = v_[set]},
                       {.format = format_, .data = o_[set]}, Tolerance(), check_seed_, Crew::For);
    rotation_.Hold(o_, checked);
    return checked;
  }

  Facts Describe() const override {
    Facts facts = CommonFacts(crew_);
    facts["algorithm"] = "unfused: matmul, softmax, matmul for each 64 queries of a head";
    if (!shapes_.empty()) {
      facts["implementation"] = fmt::format("{}; {}; {}", shapes_.front().scores_info,
                                            shapes_.front().softmax_info, shapes_.front().mix_info);
    }
    facts["formats"] =
        fmt::format("{0} x {0} -> f32 scores, {0} weights, {0} out", ToText(format_));
    facts["layout"] = "batch, head, sequence, element";
    facts["masked_pairs"] =
        "scores of a block of 64 queries that no query may see are not "
        "computed; those that only some may see are, and not counted";
    facts["pairs_computed"] = pairs_computed_ * attention_.batch * attention_.heads_q;
    facts["scores_bytes"] = crew_.Size() * score_elements_ * (4 + (InPlace() ? 0 : 2));
    facts["rotation_sets"] = rotation_.Sets();
    facts["rotation_bytes"] = q_.Bytes() + k_.Bytes() + v_.Bytes() + o_.Bytes();
    if (huge_page_percent_) facts["huge_page_percent"] = *huge_page_percent_;
    return facts;
  }

 private:
  static constexpr std::int64_t kQueries = 64;

  // A block: some queries of a head, and all keys that any of them sees.
  struct Block {
    std::int64_t query = 0;
    std::int64_t queries = 0;
    KeyRange keys = {};
    bool masked = false;    // some of these queries do not see some of these keys
    std::size_t shape = 0;  // index into shapes_; has no meaning without keys
  };

  // The primitives for blocks of one size.
  struct Shape {
    std::int64_t queries = 0;
    std::int64_t keys = 0;
    dnnl::matmul scores = {};
    Softmax softmax = {};
    dnnl::matmul mix = {};
    memory::desc q = {}, k = {}, s = {}, p = {}, v = {}, o = {}, scratch[3] = {};
    std::string scores_info = {}, softmax_info = {}, mix_info = {};
  };

  // The buffers and arguments that one thread works with.
  struct Desk {
    explicit Desk(const AttentionWorkload& work)
        : stream(work.engine_),
          scores(At(work.score_elements_ * 4)),
          weights(At(work.InPlace() ? 0 : work.score_elements_ * 2)),
          scratch(At(work.scratch_bytes_)) {}
    dnnl::stream stream;
    Pages scores;
    Pages weights;  // the softmax of the scores, where that cannot take their place
    Pages scratch;
  };

  static Format FormatOf(const Attention& attention) {
    return attention.dtype == Dtype::kF32 ? Format::kF32 : Format::kBf16;
  }
  static std::int64_t QElements(const Attention& a) {
    return a.batch * a.heads_q * a.seq_q * a.head_dim_qk;
  }
  static std::int64_t KElements(const Attention& a) {
    return a.batch * a.heads_kv * a.seq_kv * a.head_dim_qk;
  }
  static std::int64_t VElements(const Attention& a) {
    return a.batch * a.heads_kv * a.seq_kv * a.head_dim_v;
  }
  static std::int64_t OElements(const Attention& a) {
    return a.batch * a.heads_q * a.seq_q * a.head_dim_v;
  }
  static std::int64_t SetBytes(const Attention& a) {
    return (QElements(a) + KElements(a) + VElements(a) + OElements(a)) * BytesOf(FormatOf(a));
  }
  static std::int64_t SetsOf(const Attention& a) {
    return a.cache == "cold" ? ColdCopies(SetBytes(a)) : 1;
  }

  bool InPlace() const { return format_ == Format::kF32; }

  // The tolerance of bf16 is half a unit in the last place, 2⁻⁸, for the output, and three times
  // that for the rounding of the softmax's weights, whose errors are independent (standard
  // deviation 0.4 of it each). The tolerance of f32 is four times the largest error measured up to
  // 4096 keys, 4e-6, which comes from the exponential.
  double Tolerance() const { return format_ == Format::kF32 ? 1.6e-5 : std::ldexp(1.0, -6); }

  // Cuts the queries into blocks, each with the keys that any of its queries sees.
  void MakeBlocks() {
    for (std::int64_t query = 0; query < attention_.seq_q; query += kQueries) {
      Block block = {.query = query, .queries = std::min(kQueries, attention_.seq_q - query)};
      block.keys = KeysSeen(attention_, query);
      for (std::int64_t i = 0; i < block.queries; ++i) {
        const KeyRange keys = KeysSeen(attention_, query + i);
        if (keys.first == keys.last) continue;
        if (block.keys.first == block.keys.last) block.keys = keys;
        block.keys.first = std::min(block.keys.first, keys.first);
        block.keys.last = std::max(block.keys.last, keys.last);
      }
      for (std::int64_t i = 0; i < block.queries; ++i) {
        const KeyRange keys = KeysSeen(attention_, query + i);
        block.masked |= keys.first != block.keys.first || keys.last != block.keys.last;
      }
      const std::int64_t keys = block.keys.last - block.keys.first;
      if (keys > 0) block.shape = ShapeFor(block.queries, keys);
      pairs_computed_ += block.queries * keys;
      score_elements_ = std::max(score_elements_, block.queries * keys);
      blocks_.push_back(block);
    }
    // The longest blocks come first, so that no thread begins a long one when the others are done.
    std::stable_sort(blocks_.begin(), blocks_.end(), [](const Block& a, const Block& b) {
      return a.keys.last - a.keys.first > b.keys.last - b.keys.first;
    });
  }

  // The index of the primitives for blocks of that size, which are made at the first use.
  std::size_t ShapeFor(std::int64_t queries, std::int64_t keys) {
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      if (shapes_[i].queries == queries && shapes_[i].keys == keys) return i;
    }
    const std::int64_t d_qk = attention_.head_dim_qk;
    const std::int64_t d_v = attention_.head_dim_v;
    const memory::data_type type = TypeOf(format_);
    Shape shape = {.queries = queries, .keys = keys};
    shape.q = {{queries, d_qk}, type, memory::format_tag::ab};
    shape.k = {{d_qk, keys}, type, memory::format_tag::ba};  // rows of K are columns of Kᵀ
    shape.s = {{queries, keys}, memory::data_type::f32, memory::format_tag::ab};
    shape.p = {{queries, keys}, type, memory::format_tag::ab};
    shape.v = {{keys, d_v}, type, memory::format_tag::ab};
    shape.o = {{queries, d_v}, type, memory::format_tag::ab};

    // oneDNN plans for as many threads as OpenMP would give it now, and here it is called by each
    // thread on its own.
    const OmpThreads one(1);
    dnnl::primitive_attr scaled = Attributes();
    dnnl::post_ops after;
    AppendScale(after, static_cast<float>(1 / std::sqrt(static_cast<double>(d_qk))));
    scaled.set_post_ops(after);
    const auto scores = MatmulOf(engine_, shape.q, shape.k, shape.s, scaled);
    const auto softmax = SoftmaxOf(engine_, shape.s, shape.p, Attributes());
    const auto mix = MatmulOf(engine_, shape.p, shape.v, shape.o, Attributes());
    shape.scores = dnnl::matmul(scores);
    shape.softmax = Softmax(softmax);
    shape.mix = dnnl::matmul(mix);
    shape.scratch[0] = scores.scratchpad_desc();
    shape.scratch[1] = softmax.scratchpad_desc();
    shape.scratch[2] = mix.scratchpad_desc();
    for (const memory::desc& desc : shape.scratch) {
      scratch_bytes_ = std::max(scratch_bytes_, Bytes(desc));
    }
    shape.scores_info = scores.impl_info_str();
    shape.softmax_info = softmax.impl_info_str();
    shape.mix_info = mix.impl_info_str();
    shapes_.push_back(shape);
    return shapes_.size() - 1;
  }

  // Runs all heads' blocks once, on one set of operands. Threads take the next block when they are
  // done with one, since causal blocks differ in size.
  void RunOnce(std::int64_t set) {
    const std::int64_t heads = attention_.batch * attention_.heads_q;
    const std::int64_t tasks = heads * static_cast<std::int64_t>(blocks_.size());
    Crew::Failure failure;
#pragma omp parallel
    {
      const Desk& desk = desks_[At(omp_get_thread_num())];
#pragma omp for schedule(dynamic)
      for (std::int64_t task = 0; task < tasks; ++task) {
        failure.Guard([&] { RunBlock(desk, set, task % heads, blocks_[At(task / heads)]); });
      }
    }
    failure.Rethrow();
  }

  // Runs one block on the calling thread: scores, mask, softmax, and the product with the values.
  void RunBlock(const Desk& desk, std::int64_t set, std::int64_t head, const Block& block) const {
    const std::int64_t size = BytesOf(format_);
    const std::int64_t d_qk = attention_.head_dim_qk;
    const std::int64_t d_v = attention_.head_dim_v;
    const std::int64_t head_kv = head / (attention_.heads_q / attention_.heads_kv);
    const std::int64_t query = head * attention_.seq_q + block.query;
    const std::int64_t key = head_kv * attention_.seq_kv + block.keys.first;
    std::byte* out = o_[set] + query * d_v * size;
    if (block.keys.first == block.keys.last) {
      std::memset(out, 0, At(block.queries * d_v * size));
      return;
    }

    const Shape& shape = shapes_[block.shape];
    auto* scores = reinterpret_cast<float*>(desk.scores.Begin());
    memory s(shape.s, engine_, scores);
    memory p(shape.p, engine_, InPlace() ? desk.scores.Begin() : desk.weights.Begin());
    const auto scratch = [&](int i) {
      return memory(shape.scratch[i], engine_, desk.scratch.Begin());
    };
    shape.scores.execute(desk.stream,
                         {{DNNL_ARG_SRC, memory(shape.q, engine_, q_[set] + query * d_qk * size)},
                          {DNNL_ARG_WEIGHTS, memory(shape.k, engine_, k_[set] + key * d_qk * size)},
                          {DNNL_ARG_DST, s},
                          {DNNL_ARG_SCRATCHPAD, scratch(0)}});
    if (block.masked) Mask(block, scores);
    shape.softmax.execute(
        desk.stream, {{DNNL_ARG_SRC, s}, {DNNL_ARG_DST, p}, {DNNL_ARG_SCRATCHPAD, scratch(1)}});
    shape.mix.execute(desk.stream,
                      {{DNNL_ARG_SRC, p},
                       {DNNL_ARG_WEIGHTS, memory(shape.v, engine_, v_[set] + key * d_v * size)},
                       {DNNL_ARG_DST, memory(shape.o, engine_, out)},
                       {DNNL_ARG_SCRATCHPAD, scratch(2)}});
    if (!block.masked) return;
    for (std::int64_t i = 0; i < block.queries; ++i) {
      const KeyRange keys = KeysSeen(attention_, block.query + i);
      if (keys.first == keys.last) std::memset(out + i * d_v * size, 0, At(d_v * size));
    }
  }

  // Sets the scores that the mask hides to -∞. A query without any key keeps its scores, which are
  // finite; its output is zeroed afterwards.
  void Mask(const Block& block, float* scores) const {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    const std::int64_t width = block.keys.last - block.keys.first;
    for (std::int64_t i = 0; i < block.queries; ++i) {
      const KeyRange keys = KeysSeen(attention_, block.query + i);
      if (keys.first == keys.last) continue;
      float* row = scores + i * width;
      std::fill(row, row + (keys.first - block.keys.first), kNever);
      std::fill(row + (keys.last - block.keys.first), row + width, kNever);
    }
  }

  const Crew& crew_;
  dnnl::engine engine_;
  Attention attention_;
  Format format_;
  Rotation rotation_;
  std::vector<Shape> shapes_;
  std::vector<Block> blocks_;
  std::int64_t pairs_computed_ = 0;  // (query, key) pairs of one head, masked ones included
  std::int64_t score_elements_ = 0;  // the scores of the largest block
  std::int64_t scratch_bytes_ = 0;
  Copies q_, k_, v_, o_;
  std::vector<Desk> desks_;  // one a thread
  std::uint64_t check_seed_ = 0;
  std::optional<std::int64_t> huge_page_percent_;
};

class OneDnn : public Backend {
 public:
  OneDnn(int threads, const std::vector<int>& cores) : crew_(threads, cores) {}

  std::string Name() const override { return "onednn"; }

  std::vector<Device> Devices() override { return {{.name = DeviceName("cpu", 0), .kind = "cpu"}}; }

  bool Has(const Op& op) const override {
    return std::holds_alternative<Gemm>(op) || std::holds_alternative<Attention>(op);
  }

  Prepared Prepare(const Op& op, const Device&, std::uint64_t seed) override {
    if (dnnl_version()->cpu_runtime != DNNL_RUNTIME_OMP) {
      return Skipped{.reason =
                         "this oneDNN is built for another thread runtime than OpenMP, whose "
                         "threads cannot be kept on their cores",
                     .remedy = "install a oneDNN built for OpenMP, as Debian's libdnnl is"};
    }
    if (const Gemm* gemm = std::get_if<Gemm>(&op)) {
      return GemmWorkload::Make(crew_, engine_, *gemm, seed);
    }
    if (const Attention* attention = std::get_if<Attention>(&op)) {
      return AttentionWorkload::Make(crew_, engine_, *attention, seed);
    }
    return Skipped{.reason = "the onednn backend has no such operation", .remedy = "use native"};
  }

 private:
  Crew crew_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
};

}  // namespace

std::unique_ptr<Backend> MakeOneDnnBackend(const Setup& setup) {
  return std::make_unique<OneDnn>(setup.threads, CoresOf(setup));
}

std::map<std::string, std::string> OneDnnSoftware() {
  return {{"onednn", fmt::format("{} ({})", LibraryVersion(), IsaName())}};
}

}  // namespace assay

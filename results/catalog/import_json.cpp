// The readers of JSON. Sole includer of RapidJSON.
#include <fmt/format.h>
#ifdef __clang__
// An empty stack of RapidJSON's adds to a null pointer, which is harmless and which UBSan reports.
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/error/en.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#ifdef __clang__
#pragma clang attribute pop
#endif

#include <array>
#include <istream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "results/base/error.h"
#include "results/base/text.h"
#include "results/catalog/import_formats.h"

namespace assay {
namespace {

constexpr int kMostDepth = 32;

[[noreturn]] void FailShape(const std::string& name, const std::string& lacks) {
  throw Error(fmt::format("{}: this JSON has no {}, as a file of that format has; look at --from",
                          name, lacks));
}

[[noreturn]] void FailDepth(const std::string& name) {
  throw Error(fmt::format("{}: it is nested deeper than a price file is; look at --from", name));
}

[[noreturn]] void FailParsing(const std::string& name, const rapidjson::ParseResult& result) {
  throw Error(fmt::format("{}: this isn't JSON (byte {}: {}); give the file as it was got", name,
                          result.Offset() + 1, rapidjson::GetParseError_En(result.Code())));
}

// The names on the way to a value, with "[]" for an element of an array.
using JsonPath = std::vector<std::string>;

// Walks through JSON and tells of scalars (numbers as they are written), of arrays that begin and
// of objects that end, each with its path.
struct Walk : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Walk> {
  std::function<void(const JsonPath&, std::string text)> scalar = [](const JsonPath&, auto) {};
  std::function<void(const JsonPath&)> array = [](const JsonPath&) {};
  std::function<void(const JsonPath&)> end = [](const JsonPath&) {};

  bool Null() { return true; }
  bool Bool(bool value) {
    scalar(path, value ? "true" : "false");
    return true;
  }
  bool RawNumber(const char* text, rapidjson::SizeType size, bool) {
    scalar(path, std::string(text, size));
    return true;
  }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    scalar(path, std::string(text, size));
    return true;
  }
  bool StartObject() {
    path.emplace_back();
    return Fits();
  }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    path.back().assign(text, size);
    return true;
  }
  bool EndObject(rapidjson::SizeType) {
    path.pop_back();
    end(path);
    return true;
  }
  bool StartArray() {
    array(path);
    path.emplace_back("[]");
    return Fits();
  }
  bool EndArray(rapidjson::SizeType) {
    path.pop_back();
    return true;
  }
  bool Fits() {
    is_too_deep = path.size() > static_cast<std::size_t>(kMostDepth);
    return !is_too_deep;
  }

  JsonPath path = {};
  bool is_too_deep = false;
};

rapidjson::ParseResult Through(std::string_view text, Walk& walk) {
  rapidjson::MemoryStream stream(text.data(), text.size());
  rapidjson::Reader reader;
  return reader
      .Parse<rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseValidateEncodingFlag>(stream,
                                                                                            walk);
}

void WalkThrough(std::string_view text, const std::string& name, Walk& walk) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // the byte order mark
  const rapidjson::ParseResult result = Through(text, walk);
  if (walk.is_too_deep) FailDepth(name);
  if (!result) FailParsing(name, result);
}

// The bytes of a stream, chunk by chunk, as RapidJSON wants them. (Its own IStreamWrapper of
// version 1.1 asks the stream for each byte.) A byte 0 is the end.
class Chunks {
 public:
  using Ch = char;

  explicit Chunks(std::istream& stream) : stream_(stream) { Fill(); }
  Ch Peek() const { return at_ == end_ ? '\0' : *at_; }
  Ch Take() {
    if (at_ == end_) return '\0';
    const Ch c = *at_++;
    if (at_ == end_) Fill();
    return c;
  }
  std::size_t Tell() const { return before_ + static_cast<std::size_t>(at_ - buffer_.data()); }

  // What a stream that is written to would do.
  Ch* PutBegin() { return nullptr; }
  void Put(Ch) {}
  void Flush() {}
  std::size_t PutEnd(Ch*) { return 0; }

 private:
  void Fill() {
    before_ += static_cast<std::size_t>(end_ - buffer_.data());
    stream_.read(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    at_ = buffer_.data();
    end_ = at_ + stream_.gcount();
  }

  std::istream& stream_;
  std::vector<Ch> buffer_ = std::vector<Ch>(std::size_t{1} << 18);
  std::size_t before_ = 0;  // the bytes of earlier chunks
  const Ch* at_ = buffer_.data();
  const Ch* end_ = buffer_.data();
};

// The attributes of a product that decide whether it is a node's plain hour.
struct Product {
  std::string instance = {};
  std::string region = {};
  std::string system = {};
  std::string tenancy = {};
  std::string software = {};
  std::string capacity = {};
  std::string market = {};
  std::string gpu = {};
};

// The handler of AWS's price list. Its shape:
//   products.SKU.attributes.NAME                                      text
//   terms.OnDemand.SKU.TERM.priceDimensions.RATE.{unit, pricePerUnit.USD}
//   terms.Reserved.SKU.TERM…, with termAttributes.{LeaseContractLength, OfferingClass}
// Products that are no plain hour of a known instance are dropped as soon as they end, so that what
// is held is small whatever the file's size is.
class PricelistHandler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, PricelistHandler> {
 public:
  PricelistHandler(const std::function<bool(const std::string&)>& is_known, QuoteSink& sink)
      : is_known_(is_known), sink_(sink) {}

  bool StartObject() { return Open(); }
  bool StartArray() { return Open(); }
  bool EndArray(rapidjson::SizeType) {
    --depth_;
    return true;
  }
  bool EndObject(rapidjson::SizeType) {
    if (depth_ == 3 && section_ == Section::kProducts) EndProduct();
    if (section_ == Section::kTerms && kept_ != nullptr) {
      if (depth_ == 7) EndDimension();
      if (depth_ == 5) EndTerm();
    }
    --depth_;
    return true;
  }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    if (depth_ >= static_cast<int>(keys_.size())) return true;
    keys_[static_cast<std::size_t>(depth_)].assign(text, size);
    if (depth_ == 1) {
      const std::string& key = keys_[1];
      section_ = key == "products" ? Section::kProducts
                 : key == "terms"  ? Section::kTerms
                                   : Section::kOther;
      has_products_ = has_products_ || section_ == Section::kProducts;
      has_terms_ = has_terms_ || section_ == Section::kTerms;
      if (section_ == Section::kTerms && !has_products_) is_backwards_ = true;
    }
    if (depth_ == 3 && section_ == Section::kTerms) {
      const auto found = products_.find(keys_[3]);
      kept_ = found == products_.end() ? nullptr : &found->second;
    }
    return true;
  }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    switch (section_) {
      case Section::kProducts:
        if (depth_ == 4 && keys_[3] == "attributes") SetAttribute({text, size});
        break;
      case Section::kTerms:
        if (kept_ != nullptr) SetTerm({text, size});
        break;
      case Section::kOther:
        if (depth_ == 1 && keys_[1] == "publicationDate") published_.assign(text, size);
        break;
    }
    return true;
  }
  bool Default() { return true; }

  bool IsTooDeep() const { return depth_ > kMostDepth; }
  bool IsBackwards() const { return is_backwards_; }
  bool IsPricelist() const { return has_products_ && has_terms_; }

 private:
  enum class Section { kOther, kProducts, kTerms };
  bool Open() { return ++depth_ <= kMostDepth; }

  void SetAttribute(std::string_view text) {
    static const std::unordered_map<std::string_view, std::string Product::*> fields = {
        {"instanceType", &Product::instance},   {"regionCode", &Product::region},
        {"operatingSystem", &Product::system},  {"tenancy", &Product::tenancy},
        {"preInstalledSw", &Product::software}, {"capacitystatus", &Product::capacity},
        {"marketoption", &Product::market},     {"gpu", &Product::gpu}};
    if (const auto field = fields.find(keys_[4]); field != fields.end()) {
      product_.*field->second = text;
    }
  }

  void EndProduct() {
    const Product product = std::exchange(product_, {});
    if (product.instance.empty()) return;  // storage, addresses, transfer
    const bool has_gpu = !product.gpu.empty() && product.gpu != "0";
    if (!has_gpu && !is_known_(product.instance)) return sink_.Refuse("no accelerator");
    if (product.system != "Linux") {
      return sink_.Refuse(product.system == "Windows"
                              ? "Windows, whose licence is in the price"
                              : "an operating system whose licence is in the price");
    }
    if (product.tenancy != "Shared") return sink_.Refuse("a dedicated host or tenancy");
    if (!product.software.empty() && product.software != "NA") {
      return sink_.Refuse("software in the price");
    }
    if (!product.capacity.empty() && product.capacity != "Used") {
      return sink_.Refuse("reserved capacity that is not used");
    }
    if (!product.market.empty() && product.market != "OnDemand") {
      return sink_.Refuse("another market than on demand");
    }
    products_[keys_[2]] = product;
  }

  void SetTerm(std::string_view text) {
    if (depth_ == 5 && keys_[5] == "effectiveDate") date_ = text.substr(0, 10);
    if (depth_ == 6 && keys_[5] == "termAttributes") attributes_[keys_[6]] = text;
    if (depth_ == 7 && keys_[7] == "unit") unit_ = text;
    if (depth_ == 8 && keys_[7] == "pricePerUnit") {
      currency_ = keys_[8];
      price_ = text;
    }
  }

  void EndDimension() {
    if (keys_[5] != "priceDimensions") return;
    if (unit_ == "Hrs") hourly_ = price_;
    if (unit_ == "Quantity") upfront_ = price_;
    unit_.clear();
  }

  void EndTerm() {
    Quote quote = {.provider = "aws",
                   .instance = kept_->instance,
                   .region = kept_->region,
                   .amount = std::exchange(hourly_, {}),
                   .upfront = std::exchange(upfront_, {}),
                   .currency = std::exchange(currency_, {}),
                   .date = published_.empty() ? std::exchange(date_, {}) : published_.substr(0, 10),
                   .has_accelerator = true};
    const std::map<std::string, std::string> attributes = std::exchange(attributes_, {});
    if (keys_[2] == "Reserved") {
      const std::string length = Cell(attributes, "LeaseContractLength");
      quote.purchase = "reserved";
      quote.term_months = length == "1yr" ? 12 : length == "3yr" ? 36 : 0;
      if (quote.term_months == 0) return sink_.Refuse("a term of neither one year nor three");
      if (Cell(attributes, "OfferingClass") == "convertible") {
        return sink_.Refuse("a convertible reservation");
      }
    } else if (keys_[2] != "OnDemand") {
      return sink_.Refuse("terms of another kind");
    }
    sink_.Take(std::move(quote));
  }

  const std::function<bool(const std::string&)>& is_known_;
  QuoteSink& sink_;
  int depth_ = 0;
  std::array<std::string, 9> keys_ = {};
  Section section_ = Section::kOther;
  bool has_products_ = false;
  bool has_terms_ = false;
  bool is_backwards_ = false;
  std::string published_ = {};
  Product product_ = {};
  std::unordered_map<std::string, Product> products_ = {};
  const Product* kept_ = nullptr;
  // The parts of the term that is being read.
  std::string date_ = {};
  std::string unit_ = {};
  std::string currency_ = {};
  std::string price_ = {};
  std::string hourly_ = {};
  std::string upfront_ = {};
  std::map<std::string, std::string> attributes_ = {};
};

}  // namespace

void ReadJsonArray(std::string_view text, const std::string& name, const std::string& array,
                   const std::function<void(const ImportRow&)>& take) {
  bool is_there = false;
  ImportRow around;
  std::vector<ImportRow> rows;
  ImportRow row;
  Walk walk;
  walk.array = [&](const JsonPath& path) {
    is_there = is_there || (path.size() == 1 && path[0] == array);
  };
  const auto is_in = [&](const JsonPath& path, std::size_t size) {
    return path.size() == size && path[0] == array && path[1] == "[]";
  };
  walk.scalar = [&](const JsonPath& path, std::string text_of) {
    if (path.size() == 1) {
      around["." + path[0]] = std::move(text_of);
    } else if (is_in(path, 3)) {
      row[path[2]] = std::move(text_of);
    }
  };
  walk.end = [&](const JsonPath& path) {
    if (is_in(path, 2)) rows.push_back(std::exchange(row, {}));
  };
  WalkThrough(text, name, walk);
  if (!is_there) FailShape(name, "array " + array);
  for (ImportRow& one : rows) {
    one.insert(around.begin(), around.end());
    take(one);
  }
}

void ReadCapacityBlocks(std::string_view text, const std::string& name,
                        const std::function<void(const ImportRow&)>& take,
                        const std::function<void(const std::string&)>&) {
  bool is_there = false;
  ImportRow around;
  ImportRow of_type;
  ImportRow row;
  std::vector<ImportRow> of_prices;
  std::vector<ImportRow> rows;
  Walk walk;
  walk.scalar = [&](const JsonPath& path, std::string value) {
    const bool is_of_types = !path.empty() && path[0] == "instance_types";
    if (path.size() == 2 && path[0] == "metadata") {
      around["." + path[1]] = std::move(value);
    } else if (is_of_types && path.size() == 3) {
      of_type[path[2]] = std::move(value);
    } else if (is_of_types && path.size() == 5 && path[2] == "pricing" && path[3] == "[]") {
      row[path[4]] = std::move(value);
    }
  };
  walk.end = [&](const JsonPath& path) {
    if (path.empty() || path[0] != "instance_types") return;
    if (path.size() == 4 && path[2] == "pricing") of_prices.push_back(std::exchange(row, {}));
    if (path.size() == 1) is_there = true;
    if (path.size() != 2) return;
    for (ImportRow& one : of_prices) {
      one.insert(of_type.begin(), of_type.end());
      one[".type"] = path[1];
      rows.push_back(std::move(one));
    }
    of_prices.clear();
    of_type.clear();
  };
  WalkThrough(text, name, walk);
  if (!is_there) FailShape(name, "object instance_types");
  for (ImportRow& one : rows) {
    one.insert(around.begin(), around.end());
    take(one);
  }
}

std::string JsonMember(const std::string& json, const std::string& member) {
  std::string found;
  Walk walk;
  walk.scalar = [&](const JsonPath& path, std::string text) {
    if (path.size() == 1 && path[0] == member) found = std::move(text);
  };
  return Through(json, walk) ? found : "";
}

void ReadAwsPricelist(std::istream& stream, const std::string& name,
                      const std::function<bool(const std::string& instance)>& is_known,
                      QuoteSink& sink) {
  Chunks chunks(stream);
  PricelistHandler handler(is_known, sink);
  rapidjson::Reader reader;
  const rapidjson::ParseResult result = reader.Parse(chunks, handler);
  if (handler.IsTooDeep()) FailDepth(name);
  if (!result) FailParsing(name, result);
  if (!handler.IsPricelist()) FailShape(name, "products and terms");
  if (handler.IsBackwards()) {
    throw Error(
        fmt::format("{}: its terms stand before its products; give the offers file of AWS "
                    "as it was got",
                    name));
  }
}

}  // namespace assay

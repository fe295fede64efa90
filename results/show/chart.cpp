#include "results/show/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "results/base/text.h"

namespace assay {
namespace {

// A number of SVG: a tenth of a pixel is enough.
std::string N(double value) {
  if (!std::isfinite(value)) return "0";
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

std::string Path(const std::vector<std::pair<double, double>>& points) {
  std::string path;
  for (const auto& [x, y] : points) path += (path.empty() ? 'M' : 'L') + N(x) + ' ' + N(y);
  return path;
}

// The bytes of the character that begins with this one, and whether it is a wide one.
std::size_t BytesOf(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// The width of a character in shares of the font's size. Those beyond Latin, Greek and Cyrillic are
// taken for wide ones, as Chinese is.
double WidthOf(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead >= 0xE3) return 1.15;
  if (lead >= 0x80) return 0.75;
  if (std::string_view("il.,:;'|!").find(text[at]) != std::string_view::npos) return 0.37;
  if (std::string_view("MW@%m").find(text[at]) != std::string_view::npos) return 0.98;
  if (text[at] >= 'A' && text[at] <= 'Z') return 0.74;
  return 0.64;
}

constexpr std::array<std::string_view, 6> kShapes = {
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",           // disc
    "M-4 -4H4V4H-4z",                                         // square
    "M0 -5.5L5 4H-5z",                                        // triangle
    "M0 -6L5 0L0 6L-5 0z",                                    // diamond
    "M-5 -4H5L0 5.5z",                                        // triangle, upside down
    "M-1.7 -5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7z"};  // cross
constexpr std::size_t kColours = 8;
constexpr double kTickSize = 11;  // of the texts at the left edge, which must fit beside it

}  // namespace

bool Meet(const Box& a, const Box& b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

double TextWidth(std::string_view text, double size) {
  double width = 0;
  for (std::size_t at = 0; at < text.size(); at += BytesOf(static_cast<unsigned char>(text[at]))) {
    width += WidthOf(text, at);
  }
  return width * size;
}

std::string Shortened(std::string_view text, double size, double width) {
  if (TextWidth(text, size) <= width) return std::string(text);
  double used = size;  // of the ellipsis
  std::size_t at = 0;
  while (at < text.size() && used + WidthOf(text, at) * size <= width) {
    used += WidthOf(text, at) * size;
    at += BytesOf(static_cast<unsigned char>(text[at]));
  }
  return std::string(text.substr(0, at)) + "…";
}

Scale Scale::Linear(double low, double high, double from, double to) {
  Scale scale;
  scale.low_ = low;
  scale.high_ = high;
  scale.from_ = from;
  scale.to_ = to;
  return scale;
}

Scale Scale::Log(double low, double high, double from, double to) {
  if (!(low <= high)) {  // of nothing, or of what is no number
    low = 1;
    high = 10;
  }
  using Limits = std::numeric_limits<double>;
  Scale scale = Linear(std::clamp(low, Limits::min(), Limits::max()),
                       std::clamp(high, Limits::min(), Limits::max()), from, to);
  scale.is_log_ = true;
  return scale;
}

double Scale::operator()(double value) const {
  if (!(value > low_)) return from_;  // what is no number, too
  if (value >= high_) return to_;
  // The ratio of a logarithmic scale's ends may be more than a double holds.
  const double share = is_log_
                           ? (std::log(value) - std::log(low_)) / (std::log(high_) - std::log(low_))
                           : (value - low_) / (high_ - low_);
  return from_ + share * (to_ - from_);
}

std::vector<double> Scale::Ticks(int about) const {
  std::vector<double> ticks;
  constexpr double kFewDecades = 5;
  if (!is_log_ || high_ / low_ < kFewDecades) {
    const double rough = (high_ - low_) / std::max(1, about);
    const double power = std::pow(10, std::floor(std::log10(rough)));
    const double step = power * (rough <= power       ? 1
                                 : rough <= 2 * power ? 2
                                 : rough <= 5 * power ? 5
                                                      : 10);
    for (double n = std::ceil(low_ / step - 1e-9); n * step <= high_ * (1 + 1e-9) + step * 1e-9;
         ++n) {
      ticks.push_back(n == 0 ? 0 : n * step);
      if (ticks.size() > 100) break;
    }
    return ticks;
  }
  const double decades = std::log10(high_) - std::log10(low_);
  const bool is_dense = decades * 3 <= about * 1.5;
  const int each = std::max(1, static_cast<int>(std::ceil(decades / about)));
  const int first = static_cast<int>(std::floor(std::log10(low_)));
  const int last = static_cast<int>(std::ceil(std::log10(high_)));
  for (int exponent = first; exponent <= last; ++exponent) {
    if (exponent % each != 0) continue;
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit > 1 && !is_dense) break;
      const double value = digit * std::pow(10, exponent);
      if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9) && std::isfinite(value)) {
        ticks.push_back(value);
      }
    }
  }
  return ticks;
}

void Range::Add(double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

Scale Range::Log(double room, double from, double to) const {
  return Scale::Log(low / room, high * room, from, to);
}

bool IsNarrow(double width) { return width < (kWideChart + kNarrowChart) / 2; }

Drawing::Drawing(double width, double height, std::string_view about)
    : width_(width), height_(height), about_(about) {}

void Drawing::Line(double x1, double y1, double x2, double y2, std::string_view css) {
  body_ += fmt::format("<path class=\"{}\" d=\"M{} {}L{} {}\"/>", css, N(x1), N(y1), N(x2), N(y2));
}

void Drawing::Rect(const Box& box, std::string_view css, std::string_view tip) {
  body_ += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", css,
                       N(box.left), N(box.top), N(std::max(0.0, box.right - box.left)),
                       N(std::max(0.0, box.bottom - box.top)));
  body_ += tip.empty() ? "/>" : fmt::format("><title>{}</title></rect>", Html(Clean(tip, 1024)));
}

void Drawing::Polyline(const std::vector<std::pair<double, double>>& points, std::string_view css) {
  body_ += fmt::format("<path class=\"line {}\" d=\"{}\"/>", css, Path(points));
}

void Drawing::Area(const std::vector<std::pair<double, double>>& points, std::string_view css) {
  body_ += fmt::format("<path class=\"area {}\" d=\"{}z\"/>", css, Path(points));
}

void Drawing::Dots(const std::vector<std::pair<double, double>>& points, std::string_view css) {
  std::set<std::pair<long, long>> seen;
  std::string path;
  for (const auto& [x, y] : points) {
    if (!seen.emplace(std::lround(x), std::lround(y)).second) continue;
    path += fmt::format("M{} {}h0", N(x), N(y));
  }
  body_ += fmt::format("<path class=\"dots {}\" d=\"{}\"/>", css, path);
}

void Drawing::Mark(double x, double y, std::size_t series, bool hollow, std::string_view tip) {
  body_ += fmt::format("<path class=\"{} {}\" transform=\"translate({} {})\" d=\"{}\"",
                       hollow ? "hollow" : "mark", SeriesColour(series), N(x), N(y),
                       SeriesShape(series));
  body_ += tip.empty() ? "/>" : fmt::format("><title>{}</title></path>", Html(Clean(tip, 1024)));
}

bool Drawing::Label(double x, double y, std::string_view text, Anchor anchor, std::string_view css,
                    double size) {
  const std::string clean = Clean(text, 1024);
  const double width = TextWidth(clean, size);
  const double left = anchor == Anchor::kStart ? x
                      : anchor == Anchor::kEnd ? x - width
                                               : x - width / 2;
  const Box box = {.left = left - 1,
                   .top = y - 0.62 * size,
                   .right = left + width + 1,
                   .bottom = y + 0.62 * size};
  if (box.left < -1 || box.right > width_ + 1 || box.top < 0 || box.bottom > height_) return false;
  if (std::ranges::any_of(boxes_, [&](const Box& other) { return Meet(box, other); })) return false;
  boxes_.push_back(box);
  static constexpr std::array<std::string_view, 3> kAnchors = {"", " text-anchor=\"middle\"",
                                                               " text-anchor=\"end\""};
  body_ += fmt::format("<text{}{} x=\"{}\" y=\"{}\"{}>{}</text>",
                       css.empty() ? "" : fmt::format(" class=\"{}\"", css),
                       kAnchors[static_cast<std::size_t>(anchor)], N(x), N(y + 0.35 * size),
                       size == kSize ? "" : fmt::format(" font-size=\"{}\"", N(size)), Html(clean));
  return true;
}

bool Drawing::LabelNear(double x, double y, std::string_view text, double away,
                        std::string_view css, double size) {
  for (const double far : {1.0, 1.9, 2.8}) {
    const double d = away * far;
    if (Label(x + d, y, text, Anchor::kStart, css, size) ||
        Label(x - d, y, text, Anchor::kEnd, css, size) ||
        Label(x, y - d - 2, text, Anchor::kMiddle, css, size) ||
        Label(x, y + d + 2, text, Anchor::kMiddle, css, size) ||
        Label(x + d, y - d, text, Anchor::kStart, css, size) ||
        Label(x + d, y + d, text, Anchor::kStart, css, size) ||
        Label(x - d, y - d, text, Anchor::kEnd, css, size) ||
        Label(x - d, y + d, text, Anchor::kEnd, css, size)) {
      return true;
    }
  }
  for (const double far : {3.6, 4.8, 6.0, 7.5, 9.0, 11.0, 13.0}) {
    for (const double up : {-1.0, 1.0, -0.5, 0.5}) {
      for (const double aside : {1.0, -1.0}) {
        const double at_x = x + aside * far * away;
        const double at_y = y + up * far * away;
        if (!Label(at_x, at_y, text, aside > 0 ? Anchor::kStart : Anchor::kEnd, css, size)) {
          continue;
        }
        Line(x, y, at_x - aside * 2, at_y, "leader");
        return true;
      }
    }
  }
  return false;
}

void Drawing::Begin(std::string_view group, std::string_view way) {
  body_ += "<g";
  if (!group.empty()) body_ += fmt::format(" data-group=\"{}\"", Html(Clean(group)));
  if (!way.empty()) body_ += fmt::format(" data-way=\"{}\"", Html(Clean(way)));
  body_ += '>';
}

void Drawing::End() { body_ += "</g>"; }

std::string Drawing::ToSvg(std::string_view css) const {
  return fmt::format(
      "<svg class=\"{}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">{}</svg>\n", css,
      N(width_), N(height_), Html(Clean(about_, 1024)), body_);
}

std::string SeriesColour(std::size_t series) { return fmt::format("k{}", series % kColours); }

std::string_view SeriesShape(std::size_t series) {
  return kShapes[(series + 3 * (series / kColours)) % kShapes.size()];
}

void AxisBelow(Drawing& drawing, const Box& plot, const Scale& scale, const TickText& text,
               std::string_view title) {
  const double most = 1 + (plot.right - plot.left) / 90;
  for (const double tick : scale.Ticks(static_cast<int>(most))) {
    const double x = scale(tick);
    drawing.Line(x, plot.top, x, plot.bottom, "grid");
    drawing.Label(x, plot.bottom + 13, text(tick), Anchor::kMiddle, "soft");
  }
  drawing.Label((plot.left + plot.right) / 2, plot.bottom + 30, title, Anchor::kMiddle);
}

void AxisLeft(Drawing& drawing, const Box& plot, const Scale& scale, const TickText& text,
              std::string_view title) {
  const double most = 1 + (plot.bottom - plot.top) / 60;
  for (const double tick : scale.Ticks(static_cast<int>(most))) {
    const double y = scale(tick);
    drawing.Line(plot.left, y, plot.right, y, "grid");
    drawing.Label(plot.left - 6, y, text(tick), Anchor::kEnd, "soft", kTickSize);
  }
  drawing.Label(0, plot.top - 12, title);
}

void AxisOfBytes(Drawing& drawing, const Box& plot, const Scale& scale) {
  constexpr int kMostBits = 62;  // the last power of four that an integer holds
  for (int bits = 0; bits <= kMostBits; bits += 2) {
    const std::int64_t bytes = std::int64_t{1} << bits;
    if (!scale.Holds(static_cast<double>(bytes))) continue;
    const double at = scale(static_cast<double>(bytes));
    drawing.Line(at, plot.top, at, plot.bottom, "grid");
    drawing.Label(at, plot.bottom + 13, BinarySize(bytes), Anchor::kMiddle, "soft");
  }
  drawing.Label((plot.left + plot.right) / 2, plot.bottom + 30, "bytes", Anchor::kMiddle);
}

void Foot(Drawing& drawing, std::string_view text) {
  drawing.Label(4, drawing.height() - 8, Shortened(text, 11, drawing.width() - 12), Anchor::kStart,
                "soft", 11);
}

std::string ShortRate(double value, std::string_view unit) {
  std::string text = WithPrefix(value, unit);
  const std::size_t end = text.find(' ');
  std::string number = text.substr(0, end);
  if (number.find('.') != std::string::npos) {
    number.erase(number.find_last_not_of('0') + 1);
    if (number.ends_with('.')) number.pop_back();
  }
  return end == std::string::npos ? number : number + text.substr(end);
}

std::string ShortNumber(double value) {
  const double size = std::abs(value);
  return size >= 1000 && size < 1e6 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace assay

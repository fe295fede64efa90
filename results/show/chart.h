// Drawing: scales from values to pixels, and a picture as SVG in which no two labels meet. Texts
// are escaped here and nowhere else, colours are classes of the page's style sheet (report.html),
// and nothing is drawn outside of the picture.
#pragma once

#include <cmath>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace assay {

// A rectangle in pixels, from the upper left corner to the lower right one.
struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;
};
// Whether two boxes have an area in common.
bool Meet(const Box& a, const Box& b);

// The width in pixels that a text takes at most in the page's font, whose `size` is in pixels too:
// an estimate on the wide side, since the font is the reader's.
double TextWidth(std::string_view text, double size);
// The text, or its beginning and "…" where it is wider than `width` pixels. `text` is valid UTF-8.
std::string Shortened(std::string_view text, double size, double width);

// Maps values between `low` and `high` to pixels between `from` and `to`, and what lies outside to
// the nearer end. REQUIRES: low < high. The ends of a logarithmic scale are brought between the
// least and the most that a double holds, and are 1 and 10 where low isn't at most high.
class Scale {
 public:
  static Scale Linear(double low, double high, double from, double to);
  static Scale Log(double low, double high, double from, double to);
  double operator()(double value) const;
  bool Holds(double value) const { return value >= low_ && value <= high_; }
  double low() const { return low_; }
  double high() const { return high_; }
  // Round values within the scale, rising; their number is near `about`. On a linear scale, and on
  // a logarithmic one whose ends differ by less than a factor of 5, they are equally far apart, by
  // 1, 2 or 5 times a power of ten. On any other logarithmic scale they are powers of ten, and
  // where these are few, also 2 and 5 times them.
  std::vector<double> Ticks(int about) const;

 private:
  bool is_log_ = false;
  double low_ = 0;
  double high_ = 1;
  double from_ = 0;
  double to_ = 1;
};

// The least and the greatest of values.
struct Range {
  double low = HUGE_VAL;
  double high = -HUGE_VAL;
  // Adds a value; a value that isn't finite is ignored.
  void Add(double value);
  bool IsEmpty() const { return low > high; }
  // Scale::Log from low / room to high * room.
  Scale Log(double room, double from, double to) const;
};

// The widths that pictures are drawn for, in pixels.
inline constexpr double kWideChart = 1080;
inline constexpr double kNarrowChart = 360;
inline constexpr double kHalfChart = 520;  // each of two pictures side by side on a wide screen
bool IsNarrow(double width);

enum class Anchor { kStart, kMiddle, kEnd };

// One picture. Coordinates are in pixels from its upper left corner, and each `css` is a list of
// class names.
class Drawing {
 public:
  // `about` says what it shows, for those who can't see it.
  Drawing(double width, double height, std::string_view about);
  double width() const { return width_; }
  double height() const { return height_; }

  void Line(double x1, double y1, double x2, double y2, std::string_view css);
  // A rectangle with a text that is shown on pointing at it.
  void Rect(const Box& box, std::string_view css, std::string_view tip = "");
  // A line through points.
  void Polyline(const std::vector<std::pair<double, double>>& points, std::string_view css);
  // A filled area within points.
  void Area(const std::vector<std::pair<double, double>>& points, std::string_view css);
  // Small round dots, each pixel once.
  void Dots(const std::vector<std::pair<double, double>>& points, std::string_view css);
  // The mark of the series with this index (SeriesColour, SeriesShape), as an outline if `hollow`.
  void Mark(double x, double y, std::size_t series, bool hollow, std::string_view tip = "");

  // A text whose middle line is at y. It is left out where its box meets that of another text or
  // leaves the picture; returns whether it is there.
  bool Label(double x, double y, std::string_view text, Anchor anchor = Anchor::kStart,
             std::string_view css = "", double size = kSize);
  // Label for a text beside a point, on whichever side there is room, `away` pixels from it or up
  // to 2.8 times as far; where there is none, further away, with a line that leads to the point.
  bool LabelNear(double x, double y, std::string_view text, double away, std::string_view css = "",
                 double size = kSize);
  // Keeps labels away from a box.
  void Reserve(const Box& box) { boxes_.push_back(box); }

  // All that is drawn from Begin to End belongs to a group and a way of buying, by the names that
  // the page's script knows them by; the script hides it when a reader filters these out. "" stands
  // for none. REQUIRES: no Begin comes between a Begin and its End.
  void Begin(std::string_view group, std::string_view way = "");
  void End();

  // The picture as an svg element of these classes.
  std::string ToSvg(std::string_view css) const;

  static constexpr double kSize = 12;  // the usual size of texts, in pixels

 private:
  double width_;
  double height_;
  std::string about_;
  std::string body_;
  std::vector<Box> boxes_;
};

// The number of looks: series 48 looks as series 0 does.
inline constexpr std::size_t kSeriesLooks = 48;
// The look of the series with this index: the class of its colour, and its shape as SVG path data
// around 0,0.
std::string SeriesColour(std::size_t series);
std::string_view SeriesShape(std::size_t series);

// Draws the axis of a scale along the lower edge of `plot` with its title below, or along the left
// edge with its title above. A line through the plot marks each tick.
using TickText = std::function<std::string(double)>;
void AxisBelow(Drawing& drawing, const Box& plot, const Scale& scale, const TickText& text,
               std::string_view title);
void AxisLeft(Drawing& drawing, const Box& plot, const Scale& scale, const TickText& text,
              std::string_view title);

// Draws the axis of sizes in bytes along the lower edge of `plot`, with powers of four.
void AxisOfBytes(Drawing& drawing, const Box& plot, const Scale& scale);

// A line at the foot of a picture that says what is not drawn, and where it is to be found. It
// needs the last kFoot pixels of the picture's height.
inline constexpr double kFoot = 18;
void Foot(Drawing& drawing, std::string_view text);

// The text of a tick: WithPrefix (results/base/text.h) without zeros at its end, "50 GB/s".
std::string ShortRate(double value, std::string_view unit);
// "0.02", "1.5", "200", "16000": three significant digits, but from 1,000 to a million a whole
// number.
std::string ShortNumber(double value);

}  // namespace assay

#include "results/show/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "results/base/text.h"

namespace assay {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointwise;

TEST(Scale, MapsItsEndsToItsPixelsAndWhatLiesOutsideToTheNearerEnd) {
  const Scale linear = Scale::Linear(10, 20, 100, 300);
  EXPECT_EQ(linear(10), 100);
  EXPECT_EQ(linear(15), 200);
  EXPECT_EQ(linear(20), 300);
  EXPECT_EQ(linear(-1e308), 100);
  EXPECT_EQ(linear(HUGE_VAL), 300);
  EXPECT_EQ(linear(NAN), 100);
  const Scale upward = Scale::Log(1, 100, 300, 100);
  EXPECT_DOUBLE_EQ(upward(10), 200);
  EXPECT_EQ(upward(0), 300);
  EXPECT_TRUE(upward.Holds(100));
  EXPECT_FALSE(upward.Holds(101));
}

TEST(Scale, TicksAreRoundValuesWithin) {
  EXPECT_THAT(Scale::Linear(-0.03, 0.031, 0, 1).Ticks(7),
              Pointwise(DoubleNear(1e-12), {-0.03, -0.02, -0.01, 0.0, 0.01, 0.02, 0.03}));
  EXPECT_THAT(Scale::Linear(0, 730, 0, 1).Ticks(4), ElementsAre(0, 200, 400, 600));
  EXPECT_THAT(Scale::Log(3, 250, 0, 1).Ticks(6), ElementsAre(5, 10, 20, 50, 100, 200));
  EXPECT_THAT(Scale::Log(0.5, 2e9, 0, 1).Ticks(4), ElementsAre(1, 1e3, 1e6, 1e9));
  // A scale without any power of ten within it has ticks all the same.
  EXPECT_THAT(Scale::Log(2.1, 4.2, 0, 1).Ticks(4), ElementsAre(3, 4));
}

TEST(Scale, EndsBeyondWhatADoubleHoldsAreBroughtWithin) {
  const double most = std::numeric_limits<double>::max();
  for (const Scale& scale : {Scale::Log(0, HUGE_VAL, 0, 1), Scale::Log(1e-310, most, 0, 1)}) {
    EXPECT_GT(scale.low(), 0);
    EXPECT_EQ(scale.high(), most);
    EXPECT_NEAR(scale(1), 0.5, 0.01);
    for (const double tick : scale.Ticks(6)) EXPECT_TRUE(std::isfinite(tick));
    EXPECT_GT(scale.Ticks(6).size(), 3U);
  }
  // A range to which nothing was added.
  EXPECT_EQ(Range().Log(1.1, 0, 1).low(), 1);
}

// The boxes of all texts of a picture, by their widths in chart.h.
std::vector<Box> TextBoxes(const std::string& svg) {
  static const std::regex text(
      R"re(<text(?: class="[^"]*")?(?: text-anchor="(\w+)")? x="([^"]*)" y="([^"]*)"(?: font-size="([^"]*)")?>([^<]*)</text>)re");
  std::vector<Box> boxes;
  for (std::sregex_iterator at(svg.begin(), svg.end(), text), end; at != end; ++at) {
    const double size = (*at)[4].matched ? std::stod((*at)[4]) : Drawing::kSize;
    const double width = TextWidth((*at)[5].str(), size);
    const double x = std::stod((*at)[2]);
    const double y = std::stod((*at)[3]);
    const double left = (*at)[1] == "end" ? x - width : (*at)[1] == "middle" ? x - width / 2 : x;
    boxes.push_back(
        {.left = left, .top = y - 0.8 * size, .right = left + width, .bottom = y + 0.2 * size});
  }
  return boxes;
}

TEST(Drawing, LabelsNeverMeetAndStayInside) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> x(-20, 380);
  std::uniform_real_distribution<double> y(-20, 320);
  Drawing drawing(360, 300, "labels");
  int placed = 0;
  for (int i = 0; i < 400; ++i) {
    if (i % 2 == 0) {
      placed += static_cast<int>(drawing.LabelNear(x(random), y(random), "aws p5.48xlarge", 9));
    } else {
      placed +=
          static_cast<int>(drawing.Label(x(random), y(random), "spot", Anchor::kEnd, "soft", 10));
    }
  }
  const std::vector<Box> boxes = TextBoxes(drawing.ToSvg("wide"));
  ASSERT_EQ(boxes.size(), static_cast<std::size_t>(placed));
  EXPECT_GT(placed, 40);
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_GE(boxes[i].left, -0.1);
    EXPECT_LE(boxes[i].right, 360.1);
    EXPECT_GE(boxes[i].top, -2);
    EXPECT_LE(boxes[i].bottom, 302);
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(Meet(boxes[i], boxes[j])) << i << ' ' << j;
  }
}

TEST(Drawing, ALabelKeepsAwayFromAReservedBox) {
  Drawing drawing(200, 100, "");
  drawing.Reserve({.left = 90, .top = 40, .right = 110, .bottom = 60});
  EXPECT_FALSE(drawing.Label(95, 50, "here"));
  EXPECT_TRUE(drawing.LabelNear(100, 50, "beside", 12));
}

TEST(Drawing, ALabelWithoutRoomBesideItsPointStandsApartWithALeader) {
  Drawing drawing(400, 300, "");
  drawing.Reserve({.left = 60, .top = 100, .right = 340, .bottom = 200});
  EXPECT_TRUE(drawing.LabelNear(200, 150, "apart", 9));
  EXPECT_THAT(drawing.ToSvg("wide"), HasSubstr("class=\"leader\""));
  Drawing full(400, 300, "");
  full.Reserve({.left = 0, .top = 0, .right = 400, .bottom = 300});
  EXPECT_FALSE(full.LabelNear(200, 150, "nowhere", 9));
}

TEST(Drawing, TextsAreEscapedWhereverTheyStand) {
  const std::string evil = "</svg><script>alert(1)</script>\"'\x1b";
  Drawing drawing(800, 100, evil);
  drawing.Begin(evil, evil);
  drawing.Label(10, 20, evil);
  drawing.Rect({.left = 0, .top = 0, .right = 9, .bottom = 9}, "h1", evil);
  drawing.Mark(20, 60, 3, false, evil);
  drawing.End();
  const std::string svg = drawing.ToSvg("wide");
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("\x1b")));
  EXPECT_THAT(svg, HasSubstr("aria-label=\"&lt;/svg&gt;&lt;script&gt;alert(1)"));
  EXPECT_THAT(svg, HasSubstr("data-group=\"&lt;/svg&gt;"));
  EXPECT_THAT(svg, HasSubstr("<title>&lt;/svg&gt;"));
  EXPECT_EQ(svg.find("</svg>"), svg.size() - 7) << "one end, at the end";
}

TEST(Drawing, NothingThatIsNoNumberIsWritten) {
  Drawing drawing(100, 100, "");
  drawing.Line(NAN, HUGE_VAL, -HUGE_VAL, 1, "grid");
  drawing.Dots({{NAN, 1}}, "k0");
  const std::string svg = drawing.ToSvg("wide");
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
}

TEST(Drawing, AThousandNodesOnOnePixelAreOneDot) {
  Drawing drawing(100, 100, "");
  drawing.Dots(std::vector<std::pair<double, double>>(1000, {50.2, 20.1}), "node");
  EXPECT_LT(drawing.ToSvg("wide").size(), 200U);
}

TEST(Shortened, CutsBetweenCharacters) {
  EXPECT_EQ(Shortened("short", 12, 100), "short");
  const std::string text = Shortened("прайс-листы облаков мира", 12, 100);
  EXPECT_TRUE(text.ends_with("…")) << text;
  EXPECT_EQ(text.find('\xd0'), 0U);
  EXPECT_LE(TextWidth(text, 12), 100);
  EXPECT_EQ(Clean(text), text) << "no half a character";
}

TEST(SeriesLook, FortyEightSeriesDifferInColourOrShape) {
  std::set<std::pair<std::string, std::string>> looks;
  for (std::size_t i = 0; i < kSeriesLooks; ++i) looks.emplace(SeriesColour(i), SeriesShape(i));
  EXPECT_EQ(looks.size(), kSeriesLooks);
}

TEST(ShortRate, HasNoZerosAtItsEnd) {
  EXPECT_EQ(ShortRate(5e10, "B/s"), "50 GB/s");
  EXPECT_EQ(ShortRate(1.25e13, "FLOP/s"), "12.5 TFLOP/s");
  EXPECT_EQ(ShortRate(100, "B/s"), "100 B/s");
}

}  // namespace
}  // namespace assay

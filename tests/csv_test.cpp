#include "results/base/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "results/base/error.h"

namespace assay {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string ErrorOf(std::string_view text) {
  try {
    ParseCsv(text, "prices.csv");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Csv, QuotedCellsHoldCommasQuotesAndLineEnds) {
  const auto rows = ParseCsv("a,b\r\n\"x, \"\"y\"\"\",\"1\n2\"\r\n,\"\"\n", "t");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_THAT(rows[0], ElementsAre(Pair("a", "x, \"y\""), Pair("b", "1\n2")));
  EXPECT_THAT(rows[1], ElementsAre(Pair("a", ""), Pair("b", "")));
}

TEST(Csv, TheLastLineNeedsNoEndAndEmptyLinesArePassedOver) {
  const auto rows = ParseCsv(
      "\xEF\xBB\xBF"
      "a,b\n\n1,2\r\n\r\n3,4\r",
      "t");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_THAT(rows[0], ElementsAre(Pair("a", "1"), Pair("b", "2")));
  EXPECT_THAT(rows[1], ElementsAre(Pair("a", "3"), Pair("b", "4")));
}

TEST(Csv, EmptyTextHasNoRows) {
  EXPECT_TRUE(ParseCsv("", "t").empty());
  EXPECT_TRUE(ParseCsv("a,b\n", "t").empty());
}

TEST(Csv, ErrorsNameSourceAndLine) {
  EXPECT_EQ(ErrorOf("a,b\n1,2\n3\n"),
            "prices.csv, line 3: the row has 1 cells and the header has 2; mend that line");
  EXPECT_THAT(ErrorOf("a,b\n1,2,3\n"), HasSubstr("line 2: the row has 3 cells"));
  EXPECT_THAT(ErrorOf("a\n\"1\n2\"\n\"open\n"), HasSubstr("line 4: a quote is not closed"));
  EXPECT_THAT(ErrorOf("a\n\"1\"2\n"), HasSubstr("line 2: there is text after a closing quote"));
  EXPECT_THAT(ErrorOf("a\n1\"2\n"), HasSubstr("line 2: there is a quote inside a cell"));
  EXPECT_THAT(ErrorOf("a,a\n"), HasSubstr("line 1: the header names a column twice"));
}

TEST(Csv, CellsCanNotBecomeFormulas) {
  EXPECT_EQ(CsvCell("=1+2"), "'=1+2");
  EXPECT_EQ(CsvCell("@SUM(A1)"), "'@SUM(A1)");
  EXPECT_EQ(CsvCell("-2+3"), "'-2+3");
  EXPECT_EQ(CsvCell("+cmd|' /C calc'!A0"), "'+cmd|' /C calc'!A0");
  EXPECT_EQ(CsvCell("\t=1"), "'\t=1");
  EXPECT_EQ(CsvCell("-inf"), "'-inf");
  EXPECT_EQ(CsvCell("=HYPERLINK(\"a\",\"b\")"), "\"'=HYPERLINK(\"\"a\"\",\"\"b\"\")\"");
}

TEST(Csv, NumbersAndWordsStayAsTheyAre) {
  EXPECT_EQ(CsvCell("-1.5"), "-1.5");
  EXPECT_EQ(CsvCell("+2e-9"), "+2e-9");
  EXPECT_EQ(CsvCell("bf16 4096 x 4096"), "bf16 4096 x 4096");
  EXPECT_EQ(CsvCell(""), "");
  EXPECT_EQ(CsvCell("a,\"b\"\n"), "\"a,\"\"b\"\"\n\"");
}

TEST(Csv, WhatIsWrittenIsReadBack) {
  for (const std::string text : {"a,b", "a\"b", "two\nlines", "\"", "plain", "x\r"}) {
    const auto rows = ParseCsv("cell,end\n" + CsvCell(text) + ",\n", "t");
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].at("cell"), text);
  }
}

}  // namespace
}  // namespace assay

#include <boost/test/unit_test.hpp>

#include "messages/codec/csv.hpp"
#include "messages/core/limits.hpp"

#include <fstream>
#include <random>
#include <sstream>

using namespace tillstream;

using row = std::vector<std::string>;

namespace {

struct reading {
  std::vector<row> rows;
  std::vector<size_t> lines;
  std::string error;
};

reading read(const std::string& text) {
  std::istringstream in{text};
  csv_reader reader{in};
  reading result;
  row fields;
  while (reader.next(fields)) {
    result.rows.push_back(fields);
    result.lines.push_back(reader.line());
  }
  BOOST_TEST(fields.empty());
  result.error = reader.error();
  return result;
}

void check_rows(const std::string& text, const std::vector<row>& expected) {
  auto found = read(text);
  BOOST_TEST(found.error == "");
  BOOST_TEST((found.rows == expected));
}

void check_error(const std::string& text, const std::string& expected) {
  BOOST_TEST(read(text).error == expected);
}

} // namespace

BOOST_AUTO_TEST_SUITE(csv_suite)

BOOST_AUTO_TEST_CASE(
  records_end_with_line_feed_or_crlf_and_the_last_with_none) {
  check_rows("a,b\nc,d\n", {{"a", "b"}, {"c", "d"}});
  check_rows("a,b\r\nc,d\r\n", {{"a", "b"}, {"c", "d"}});
  check_rows("a,b\r\nc,d", {{"a", "b"}, {"c", "d"}});
  check_rows("a,b\r\nc,", {{"a", "b"}, {"c", ""}});
}

BOOST_AUTO_TEST_CASE(nothing_is_no_record) {
  check_rows("", {});
  check_rows("\xEF\xBB\xBF", {});
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_skipped_only_at_the_beginning) {
  check_rows("\xEF\xBB\xBF"
             "a,b\n",
             {{"a", "b"}});
  check_rows("a,\xEF\xBB\xBF\n", {{"a", "\xEF\xBB\xBF"}});
}

BOOST_AUTO_TEST_CASE(quoted_fields_hold_separators_quotes_and_line_ends) {
  check_rows("\"a,b\",\"c\"\"d\",\"e\r\nf\"\r\n", {{"a,b", "c\"d", "e\r\nf"}});
  check_rows("\"\",\"\"\"\"\n", {{"", "\""}});
}

BOOST_AUTO_TEST_CASE(spaces_belong_to_the_field) {
  check_rows(" a , b \n", {{" a ", " b "}});
}

BOOST_AUTO_TEST_CASE(a_record_knows_the_line_on_which_it_began) {
  auto found = read("a\n\"b\nc\"\nd\n");
  BOOST_TEST((found.lines == std::vector<size_t>{1, 2, 4}));
}

BOOST_AUTO_TEST_CASE(what_would_need_guessing_is_an_error_with_its_line) {
  check_error("a\nb\"c\n", "line 2: a quote inside a field that is not quoted");
  check_error("a,b\n\"c\"d,e\n", "line 2: text after a closing quote");
  check_error("a\n\n\"b\n\n", "line 3: a quoted field has no end");
  check_error("a\rb\n", "line 1: a carriage return without a line feed");
  check_error("a,b\n\nc,d\n", "line 2: 1 fields where the first line has 2");
  check_error("a,b\nc,d,e\n", "line 2: 3 fields where the first line has 2");
  check_error(std::string("a\0b\n", 4),
              "line 1: a zero byte: is this a text file?");
}

BOOST_AUTO_TEST_CASE(text_must_be_utf_8) {
  check_rows("\xC3\xA9\n\xE2\x82\xAC\n\xF0\x9F\x98\x80\n",
             {{"\xC3\xA9"}, {"\xE2\x82\xAC"}, {"\xF0\x9F\x98\x80"}});
  for (std::string bad : {"\xE9", "\xC3", "\xC0\xAF", "\xE0\x80\x80",
                          "\xED\xA0\x80", "\xF4\x90\x80\x80", "\x80", "\xFF",
                          "\xE2\x82"
                          "A"})
    check_error(bad + "\n", "line 1: the text is not valid UTF-8");
}

BOOST_AUTO_TEST_CASE(fields_and_records_have_an_upper_bound) {
  std::string full(limits::csv_field_bytes_max, 'x');
  check_rows(full + "\n", {{full}});
  check_error("a\n" + full + "x\n", "line 2: a field is too long");
  check_error("a\n\"" + full + "x\"\n", "line 2: a field is too long");
  check_error("a\n" + std::string(limits::csv_record_bytes_max + 1, ','),
              "line 2: the record is too long");
  std::string many;
  while (many.size() <= limits::csv_record_bytes_max)
    many += full + ",";
  check_error("a\n" + many, "line 2: the record is too long");
}

BOOST_AUTO_TEST_CASE(an_error_stays) {
  std::istringstream in{"a\"\nb\n"};
  csv_reader reader{in};
  row fields;
  BOOST_TEST(!reader.next(fields));
  auto first = reader.error();
  BOOST_TEST(!reader.next(fields));
  BOOST_TEST(reader.error() == first);
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_read_is_an_error_not_an_end) {
  std::ifstream in{"/", std::ios::binary};
  csv_reader reader{in};
  row fields;
  BOOST_TEST(!reader.next(fields));
  BOOST_TEST(reader.error() == "line 1: the file cannot be read");
}

BOOST_AUTO_TEST_CASE(the_header_must_be_the_expected_one) {
  auto error_of = [](const std::string& text) {
    std::istringstream in{text};
    csv_reader reader{in};
    auto fine = reader.expect_header({"a", "b"});
    BOOST_TEST(fine == reader.error().empty());
    return reader.error();
  };
  BOOST_TEST(error_of("a,b\n1,2\n") == "");
  for (auto* wrong : {"", "a\n", "b,a\n", "a,b,c\n", "A,b\n"})
    BOOST_TEST(error_of(wrong) == "line 1: the header must be `a,b`");
}

BOOST_AUTO_TEST_CASE(the_writer_quotes_only_where_it_must) {
  std::string out;
  csv_writer writer{out};
  writer.field("plain").field("a,b").field("say \"hi\"").field(-7).end_record();
  writer.field("").field("two\nlines").field("").field("\r").end_record();
  BOOST_TEST(out
             == "plain,\"a,b\",\"say \"\"hi\"\"\",-7\r\n"
                ",\"two\nlines\",,\"\r\"\r\n");
}

BOOST_AUTO_TEST_CASE(a_lone_empty_field_is_no_empty_line) {
  std::string out;
  csv_writer writer{out};
  writer.field("").end_record();
  BOOST_TEST(out == "\"\"\r\n");
}

// Goal: whatever is written reads back the same. Method: random fields over
// the characters that matter.
BOOST_AUTO_TEST_CASE(the_reader_reads_what_the_writer_wrote) {
  auto seed = std::random_device{}();
  BOOST_TEST_MESSAGE("seed " << seed);
  std::mt19937 prng{seed};
  constexpr std::string_view letters = "ab,\"\r\n ;";
  for (int round = 0; round < 500; ++round) {
    std::vector<row> rows(1 + prng() % 5);
    auto width = 1 + prng() % 4;
    std::string out;
    csv_writer writer{out};
    for (auto& fields : rows) {
      fields.resize(width);
      for (auto& field : fields) {
        for (auto n = prng() % 6; n > 0; --n)
          field.push_back(letters[prng() % letters.size()]);
        writer.field(field);
      }
      writer.end_record();
    }
    check_rows(out, rows);
  }
}

BOOST_AUTO_TEST_SUITE_END()

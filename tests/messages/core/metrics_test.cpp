#include <boost/test/unit_test.hpp>

#include "messages/core/metrics.hpp"

#include <limits>
#include <thread>
#include <vector>

using namespace tillstream;

namespace {

bool has_line(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line + "\n") != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_SUITE(metrics_suite)

BOOST_AUTO_TEST_CASE(counters_and_gauges_are_rendered_by_name) {
  metrics_registry registry;
  registry.get_counter("b_total", "Bs.", "outcome=\"x\"").add(3);
  registry.get_counter("b_total", "Bs.", "outcome=\"y\"").add();
  registry.get_gauge("a", "As.").set(-5);
  BOOST_TEST(registry.render()
             == "# HELP a As.\n# TYPE a gauge\na -5\n"
                "# HELP b_total Bs.\n# TYPE b_total counter\n"
                "b_total{outcome=\"x\"} 3\nb_total{outcome=\"y\"} 1\n");
}

BOOST_AUTO_TEST_CASE(the_same_name_is_the_same_metric) {
  metrics_registry registry;
  auto& x = registry.get_counter("c", "Cs.");
  x.add();
  BOOST_TEST(&registry.get_counter("c", "Cs.") == &x);
  BOOST_TEST(registry.get_counter("c", "Cs.").value() == 1u);
}

BOOST_AUTO_TEST_CASE(buckets_of_a_histogram_are_cumulative) {
  metrics_registry registry;
  auto& x = registry.get_histogram("h", "Hs.", 1, "l=\"v\"");
  for (auto value : {0u, 1u, 2u, 3u, 4u, 5u})
    x.observe(value);
  x.observe(std::numeric_limits<uint32_t>::max());
  auto text = registry.render();
  BOOST_TEST(has_line(text, "# TYPE h histogram"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"1\"} 2"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"2\"} 3"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"4\"} 5"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"8\"} 6"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"134217728\"} 6"));
  BOOST_TEST(has_line(text, "h_bucket{l=\"v\",le=\"+Inf\"} 7"));
  BOOST_TEST(has_line(text, "h_sum{l=\"v\"} 4294967310"));
  BOOST_TEST(has_line(text, "h_count{l=\"v\"} 7"));
}

BOOST_AUTO_TEST_CASE(every_value_falls_into_the_bucket_that_holds_it) {
  for (size_t i = 0; i < histogram::bucket_count; ++i) {
    histogram x{1};
    x.observe(uint64_t{1} << i);
    BOOST_TEST(x.bucket(i) == 1u, i);
    x.observe((uint64_t{1} << i) + 1);
    BOOST_TEST(x.bucket(i + 1) == 1u, i);
  }
  histogram x{1};
  x.observe(std::numeric_limits<uint64_t>::max());
  BOOST_TEST(x.bucket(histogram::bucket_count) == 1u);
}

BOOST_AUTO_TEST_CASE(a_scale_turns_microseconds_into_seconds) {
  metrics_registry registry;
  registry.get_histogram("s", "Ss.", 1e6).observe(1'500'000);
  auto text = registry.render();
  BOOST_TEST(has_line(text, "s_bucket{le=\"1.048576\"} 0"));
  BOOST_TEST(has_line(text, "s_bucket{le=\"2.097152\"} 1"));
  BOOST_TEST(has_line(text, "s_sum 1.5"));
  BOOST_TEST(has_line(text, "s_count 1"));
}

BOOST_AUTO_TEST_CASE(a_dropped_gauge_is_gone_and_its_reference_harmless) {
  metrics_registry registry;
  auto& x = registry.get_gauge("g", "Gs.", "branch=\"a\"");
  registry.get_gauge("g", "Gs.", "branch=\"b\"").set(2);
  registry.drop_gauge("g", "branch=\"a\"");
  registry.drop_gauge("unknown", "");
  x.set(7);
  auto text = registry.render();
  BOOST_TEST(text.find("branch=\"a\"") == std::string::npos);
  BOOST_TEST(has_line(text, "g{branch=\"b\"} 2"));
}

BOOST_AUTO_TEST_CASE(the_memory_of_dropped_gauges_is_used_again) {
  metrics_registry registry;
  const auto* memory = &registry.get_gauge("g", "Gs.", "branch=\"0\"");
  for (int i = 1; i < 100; ++i) {
    auto last = metric_label("branch", std::to_string(i - 1));
    registry.get_gauge("g", "Gs.", last).set(i);
    registry.drop_gauge("g", last);
    // Twice is as good as once.
    registry.drop_gauge("g", last);
    auto label = metric_label("branch", std::to_string(i));
    auto& next = registry.get_gauge("g", "Gs.", label);
    BOOST_TEST(&next == memory);
    BOOST_TEST(next.value() == 0);
  }
  // One of two is free, and serves one.
  registry.get_gauge("g", "Gs.", "branch=\"x\"");
  registry.drop_gauge("g", "branch=\"99\"");
  auto& a = registry.get_gauge("g", "Gs.", "branch=\"a\"");
  auto& b = registry.get_gauge("g", "Gs.", "branch=\"b\"");
  BOOST_TEST(&a == memory);
  BOOST_TEST(&b != &a);
}

BOOST_AUTO_TEST_CASE(label_values_are_escaped) {
  BOOST_TEST(metric_label("k", "v") == "k=\"v\"");
  BOOST_TEST(metric_label("k", "a\"b\\c\nd") == R"(k="a\"b\\c\nd")");
}

BOOST_AUTO_TEST_CASE(threads_count_together) {
  metrics_registry registry;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 10'000; ++j)
        registry.get_counter("t", "Ts.").add();
    });
  for (auto& x : threads)
    x.join();
  BOOST_TEST(registry.get_counter("t", "Ts.").value() == 40'000u);
}

BOOST_AUTO_TEST_SUITE_END()

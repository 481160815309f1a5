#include <boost/test/unit_test.hpp>

#include "actors/gateway/documents.hpp"
#include "actors/gateway/routes.hpp"
#include "messages/codec/event_codec.hpp"
#include "messages/codec/json.hpp"
#include "messages/codec/purchase_codec.hpp"
#include "messages/model/chain.hpp"
#include "tests/support/openapi_document.hpp"

#include <set>
#include <string>
#include <vector>

using namespace tillstream;

namespace {

using kind = json_value::kind;

struct fixture {
  tests::openapi_reader api;

  static int success_status(const route& x) {
    if (x.target == endpoint::sign_out)
      return 204;
    return x.target == endpoint::record_purchase ? 201 : 200;
  }

  /// Statuses that a route must document, whatever else it has.
  static std::vector<int> expected_statuses(const route& x) {
    std::vector<int> result{success_status(x), 413, 500, 503};
    if (x.who != audience::anyone) {
      result.push_back(401);
      result.push_back(403);
    }
    switch (x.target) {
      case endpoint::record_purchase:
        for (auto status : {400, 409, 415, 422, 429})
          result.push_back(status);
        break;
      case endpoint::get_purchase:
      case endpoint::find_purchase:
        result.push_back(404);
        result.push_back(400);
        break;
      case endpoint::list_customers:
      case endpoint::list_branches:
      case endpoint::analytics:
      case endpoint::live:
        result.push_back(400);
        break;
      case endpoint::sign_in:
        for (auto status : {400, 401, 403, 415, 429})
          result.push_back(status);
        break;
      default:
        break;
    }
    return result;
  }

  /// Collects every `$ref` below `x`.
  static void collect(const json_value& x, std::set<std::string>& out) {
    for (const auto& element : x.elements)
      collect(element, out);
    for (const auto& [name, value] : x.members) {
      if (name == "$ref")
        out.emplace(value.text);
      else
        collect(value, out);
    }
  }

  /// Names of the members that an object schema requires.
  std::set<std::string> required(std::string_view schema) const {
    std::set<std::string> result;
    const auto* x
      = api.root().find("components")->find("schemas")->find(schema);
    BOOST_REQUIRE(x != nullptr);
    for (const auto& name : x->find("required")->elements)
      result.emplace(name.text);
    return result;
  }
};

std::set<std::string> members_of(const std::string& json) {
  json_document document;
  BOOST_REQUIRE_EQUAL(document.parse(json), "");
  std::set<std::string> result;
  for (const auto& [name, value] : document.root().members)
    result.emplace(name);
  return result;
}

} // namespace

BOOST_FIXTURE_TEST_SUITE(openapi_suite, fixture)

BOOST_AUTO_TEST_CASE(every_route_is_documented_with_its_statuses) {
  for (const auto& x : gateway_routes()) {
    BOOST_TEST_CONTEXT(x.method << " " << x.pattern) {
      const auto* operation = api.operation(x.method, x.pattern);
      BOOST_REQUIRE(operation != nullptr);
      BOOST_TEST(operation->find("operationId") != nullptr);
      BOOST_TEST(operation->find("responses")->find("default") != nullptr);
      for (auto status : expected_statuses(x))
        BOOST_TEST((api.response(*operation, status) != nullptr),
                   "status " << status);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_documented_operation_is_a_route) {
  size_t documented = 0;
  for (const auto& [path, item] : api.root().find("paths")->members)
    documented += item.members.size();
  BOOST_TEST(documented == gateway_routes().size());
}

BOOST_AUTO_TEST_CASE(keys_are_required_where_the_document_says_so) {
  for (const auto& x : gateway_routes()) {
    BOOST_TEST_CONTEXT(x.method << " " << x.pattern) {
      const auto* security
        = api.operation(x.method, x.pattern)->find("security");
      // No member: the document's own, a key.
      if (x.who == audience::anyone)
        BOOST_TEST((security != nullptr && security->elements.empty()));
      else if (x.who == audience::operator_or_loopback)
        BOOST_TEST((security != nullptr && security->elements.size() == 2));
      else
        BOOST_TEST(security == nullptr);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_reference_leads_somewhere) {
  std::set<std::string> references;
  collect(api.root(), references);
  BOOST_TEST(references.size() > 30u);
  for (const auto& reference : references) {
    auto json = R"({"$ref":")" + reference + R"("})";
    json_document pointer;
    BOOST_REQUIRE_EQUAL(pointer.parse(json), "");
    BOOST_TEST((api.follow(pointer.root()) != nullptr), reference);
  }
}

BOOST_AUTO_TEST_CASE(names_of_operations_are_unique) {
  std::set<std::string> names;
  for (const auto& x : gateway_routes())
    names.emplace(
      api.operation(x.method, x.pattern)->find("operationId")->text);
  BOOST_TEST(names.size() == gateway_routes().size());
}

BOOST_AUTO_TEST_CASE(the_answer_to_a_sale_has_the_documented_members) {
  recorded_purchase x;
  x.currency = "USD";
  BOOST_TEST((members_of(encode_recorded(x, currency{}))
              == required("RecordedPurchase")));
}

BOOST_AUTO_TEST_CASE(the_event_has_the_documented_members) {
  json_document document;
  BOOST_REQUIRE_EQUAL(document.parse(asyncapi_document()), "");
  BOOST_TEST((document.root().find("asyncapi")->text == "3.0.0"));
  const auto* schemas = document.root().find("components")->find("schemas");
  auto properties = [&](std::string_view name) {
    std::set<std::string> result;
    for (const auto& [key, value] :
         schemas->find(name)->find("properties")->members)
      result.emplace(key);
    return result;
  };
  purchase_event event;
  event.branch_id = "branch-1";
  event.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  event.items.push_back({"latte", "Latte", "Coffee", 450});
  auto bytes = encode_event(event);
  BOOST_TEST((members_of(bytes) == properties("PurchaseCreated")));
  json_document encoded;
  BOOST_REQUIRE_EQUAL(encoded.parse(bytes), "");
  std::set<std::string> data;
  for (const auto& [key, value] : encoded.root().find("data")->members)
    data.emplace(key);
  BOOST_TEST((data == properties("PurchaseCreatedData")));
}

BOOST_AUTO_TEST_SUITE_END()

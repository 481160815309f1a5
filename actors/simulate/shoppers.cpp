#include "actors/simulate/shoppers.hpp"

#include "messages/core/error.hpp"
#include "messages/core/money.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace tillstream::commands {

namespace {

struct product {
  const char* id;
  const char* name;
  /// For a currency with two digits; see `price_of`.
  minor_units price;
};

/// What the chain sells, best seller first.
constexpr std::array menu = {
  product{"drip-m", "Drip Coffee M", 275},
  product{"latte-m", "Latte M", 475},
  product{"cappuccino-m", "Cappuccino M", 450},
  product{"croissant", "Butter Croissant", 350},
  product{"drip-l", "Drip Coffee L", 325},
  product{"espresso", "Espresso", 300},
  product{"latte-l", "Latte L", 525},
  product{"iced-coffee-l", "Iced Coffee L", 395},
  product{"flat-white", "Flat White", 450},
  product{"bagel", "Bagel with Cream Cheese", 425},
  product{"americano", "Americano", 350},
  product{"blueberry-muffin", "Blueberry Muffin", 375},
  product{"cold-brew", "Cold Brew", 450},
  product{"chai-latte", "Chai Latte", 475},
  product{"drip-s", "Drip Coffee S", 225},
  product{"mocha-m", "Mocha M", 525},
  product{"banana-bread", "Banana Bread", 350},
  product{"english-breakfast", "English Breakfast Tea", 295},
  product{"cortado", "Cortado", 395},
  product{"oat-latte-m", "Oat Milk Latte M", 550},
  product{"chocolate-chip-cookie", "Chocolate Chip Cookie", 275},
  product{"egg-sandwich", "Egg and Cheese Sandwich", 695},
  product{"double-espresso", "Double Espresso", 375},
  product{"hot-chocolate", "Hot Chocolate", 425},
  product{"matcha-latte", "Matcha Latte", 575},
  product{"almond-croissant", "Almond Croissant", 450},
  product{"orange-juice", "Fresh Orange Juice", 475},
  product{"green-tea", "Green Tea", 295},
  product{"cinnamon-roll", "Cinnamon Roll", 425},
  product{"macchiato", "Macchiato", 350},
  product{"water", "Still Water", 200},
  product{"iced-latte", "Iced Latte", 525},
  product{"lemon-scone", "Lemon Scone", 375},
  product{"avocado-toast", "Avocado Toast", 895},
  product{"decaf-m", "Decaf Coffee M", 295},
  product{"peppermint-tea", "Peppermint Tea", 295},
  product{"turkey-sandwich", "Turkey Sandwich", 875},
  product{"yoghurt-granola", "Yoghurt with Granola", 595},
  product{"brownie", "Walnut Brownie", 375},
  product{"earl-grey", "Earl Grey Tea", 295},
  product{"sparkling-water", "Sparkling Water", 225},
  product{"fruit-salad", "Fruit Salad", 550},
  product{"caprese-panini", "Caprese Panini", 825},
  product{"extra-shot", "Extra Shot", 100},
  product{"vanilla-syrup", "Vanilla Syrup", 75},
  product{"lemonade", "House Lemonade", 395},
  product{"cheesecake", "Cheesecake", 595},
  product{"rooibos", "Rooibos Tea", 295},
  product{"soup", "Soup of the Day", 695},
  product{"biscotti", "Almond Biscotti", 225},
  product{"kids-hot-chocolate", "Small Hot Chocolate", 295},
  product{"house-blend-250", "House Blend 250 g", 1250},
  product{"espresso-beans-250", "Espresso Roast 250 g", 1350},
  product{"carrot-cake", "Carrot Cake", 550},
  product{"ethiopia-250", "Ethiopia Yirgacheffe 250 g", 1650},
  product{"house-blend-1000", "House Blend 1 kg", 3950},
  product{"tea-tin", "Tea Gift Tin", 1895},
  product{"paper-filters", "Paper Filters", 650},
  product{"travel-mug", "Travel Mug", 2495},
  product{"french-press", "French Press", 3495},
};

/// How busy a branch is, by the hour of its local clock. Never zero: a
/// simulation at night shows sales, too.
constexpr std::array<double, 24> busy_hours
  = {.02, .02, .02, .02, .02, .10, .50, 1.0, 1.3, 1.2, 1.1, .80,
     .70, .60, .60, .60, .60, .50, .45, .35, .20, .10, .05, .02};

/// Shares of baskets with one to six products.
const std::vector basket_sizes = {48.0, 27.0, 13.0, 7.0, 3.0, 2.0};

/// Of 100 shoppers so many show a card, if the branch knows somebody.
constexpr double returning_share = 0.55;

/// Of 100 cards shown so many come from another branch.
constexpr double visitor_share = 0.05;

constexpr int tills_per_branch = 3;

/// The rank-frequency law of what people buy. Source: Zipf-Mandelbrot, with
/// an offset that keeps the first from selling everything.
std::vector<double> popularity() {
  std::vector<double> result(menu.size());
  for (size_t rank = 0; rank < result.size(); ++rank)
    result[rank] = 1 / std::pow(static_cast<double>(rank) + 3, 1.1);
  return result;
}

/// Scales a price to the currency: 2.75 USD are 275 JPY and 2.750 KWD.
std::string price_of(const product& what, const currency& unit) {
  auto price = what.price;
  for (int digits = unit.exponent; digits > 2; --digits)
    price *= 10;
  return format_money(price, unit);
}

/// Hours since local midnight, 0 to 24.
double local_hour(const branch_clock& clock, timestamp t) {
  using namespace std::chrono;
  auto local = t + clock.utc_offset(t);
  auto of_day = local - floor<days>(local);
  return duration<double, std::ratio<3600>>(of_day).count();
}

/// Interpolates `busy_hours`, so that the crowd comes and goes smoothly.
double busyness(double hour) {
  auto before = static_cast<size_t>(hour) % busy_hours.size();
  auto after = (before + 1) % busy_hours.size();
  auto part = hour - std::floor(hour);
  return busy_hours[before] * (1 - part) + busy_hours[after] * part;
}

/// Whether a new customer takes a card: three of eight do. Decided by the id,
/// which is random, so that answers may come in any order.
bool takes_card(const std::string& user_id) {
  return !user_id.empty() && user_id.front() >= '0' && user_id.front() < '6';
}

} // namespace

// -- customer_book ------------------------------------------------------------

void customer_book::add(const std::string& branch_id,
                        const std::string& user_id) {
  std::lock_guard guard{mutex_};
  auto& known = customers_[branch_id];
  if (known.size() < branch_customers_max)
    known.push_back(user_id);
}

std::string
customer_book::pick(const std::string& branch_id, double share) const {
  std::lock_guard guard{mutex_};
  auto i = customers_.find(branch_id);
  if (i == customers_.end())
    return {};
  // The square makes the first quarter of the book half of the visits.
  const auto& known = i->second;
  auto size = static_cast<double>(known.size());
  auto index = static_cast<size_t>(share * share * size);
  return known[std::min(index, known.size() - 1)];
}

size_t customer_book::size(const std::string& branch_id) const {
  std::lock_guard guard{mutex_};
  auto i = customers_.find(branch_id);
  return i == customers_.end() ? 0 : i->second.size();
}

// -- shoppers -----------------------------------------------------------------

caf::expected<std::unique_ptr<shoppers>>
shoppers::make(const tillstream::chain& chain, shoppers_options opts) {
  if (chain.branches.empty())
    return caf::make_error(errc::invalid, "the chain has no branch");
  std::unique_ptr<shoppers> result{new shoppers(chain, std::move(opts))};
  for (const auto& where : chain.branches) {
    auto clock = branch_clock::make(where);
    if (!clock)
      return clock.error();
    auto size = 0.6 + 0.8 * result->uniform();
    result->branches_.push_back({where.id, *clock, size, 0});
  }
  return result;
}

shoppers::shoppers(const tillstream::chain& chain, shoppers_options opts)
  : options_(std::move(opts)),
    unit_(chain.currency),
    prng_(options_.seed),
    popularity_(popularity()) {
  // nop
}

bool shoppers::next(sale& out) {
  out = render_sale(next_draft());
  return true;
}

sale_draft shoppers::next_draft() {
  auto now = options_.now();
  auto& where = pick_branch(now);
  auto till = 1 + prng_() % tills_per_branch;
  auto late_shift = local_hour(where.clock, now) >= 14;
  sale_draft result;
  result.branch_id = where.branch_id;
  result.pos_id = fmt::format("pos-{}", till);
  result.cashier_id
    = fmt::format("staff-{}", till + (late_shift ? tills_per_branch : 0));
  result.receipt_id = fmt::format("{}-{}", options_.run, ++where.receipts);
  result.user_id = pick_customer(where);
  result.lines = fill_basket();
  return result;
}

double shoppers::crowd() const {
  auto now = options_.now();
  double result = 0;
  for (const auto& x : branches_)
    result += x.size * busyness(local_hour(x.clock, now));
  return result;
}

double shoppers::gap() {
  return -std::log(1 - uniform());
}

void shoppers::customer(const std::string& branch_id,
                        const std::string& user_id) {
  if (takes_card(user_id))
    customers_.add(branch_id, user_id);
}

/// In [0, 1). The standard's distributions would differ among libraries.
double shoppers::uniform() {
  return static_cast<double>(prng_() >> 11) * 0x1p-53;
}

/// @returns an index, as often as its weight says.
size_t shoppers::pick(const std::vector<double>& weights) {
  auto left = uniform() * std::accumulate(weights.begin(), weights.end(), 0.0);
  size_t i = 0;
  while (i + 1 < weights.size() && left >= weights[i])
    left -= weights[i++];
  return i;
}

shoppers::branch_book& shoppers::pick_branch(timestamp now) {
  std::vector<double> crowd;
  for (const auto& x : branches_)
    crowd.push_back(x.size * busyness(local_hour(x.clock, now)));
  return branches_[pick(crowd)];
}

std::string shoppers::pick_customer(const branch_book& where) {
  if (uniform() >= returning_share)
    return {};
  const auto* home = &where;
  if (uniform() < visitor_share)
    home = &branches_[prng_() % branches_.size()];
  return customers_.pick(home->branch_id, uniform());
}

std::vector<sale_line> shoppers::fill_basket() {
  std::vector<size_t> chosen;
  auto size = 1 + pick(basket_sizes);
  // A product stands in a purchase once. Six of sixty are soon found.
  while (chosen.size() < size) {
    auto x = pick(popularity_);
    if (std::find(chosen.begin(), chosen.end(), x) == chosen.end())
      chosen.push_back(x);
  }
  std::vector<sale_line> result;
  result.reserve(size);
  for (auto x : chosen)
    result.push_back({menu[x].id, menu[x].name, price_of(menu[x], unit_)});
  return result;
}

} // namespace tillstream::commands

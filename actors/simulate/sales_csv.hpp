#pragma once

#include "actors/simulate/sale.hpp"
#include "messages/codec/csv.hpp"

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace tillstream::commands {

/// Sales of a CSV (CONTRACT, 'Operating'): one line an item, lines of a
/// purchase together. Nothing is cleaned: a quantity above one and a product
/// that comes twice go out as they are, for the server to refuse.
///
/// Every sale that names a customer vouches for it, as a till does that was
/// offline: the customer's first receipt may be among the refused ones.
class sales_csv : public sale_source {
public:
  /// @param in    Must outlive the source.
  /// @param bytes The size of `in`, for `share_read`; 0: unknown.
  sales_csv(std::istream& in, uint64_t bytes);

  bool next(sale& out) override;

  /// The same, not yet rendered.
  bool next_draft(sale_draft& out);

  std::string error() const override;

  std::optional<double> share_read() const override;

private:
  bool continues(const sale_draft& draft);
  bool take_line(sale_draft& draft);
  void advance();

  csv_reader reader_;
  uint64_t bytes_;
  /// The record that comes next; empty: none does.
  std::vector<std::string> record_;
  /// Memory of the sale that is being read.
  size_t sale_bytes_ = 0;
  std::string error_;
};

} // namespace tillstream::commands

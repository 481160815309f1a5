#pragma once

#include "messages/model/apply.hpp"

#include <string>
#include <vector>

namespace tillstream::test {

/// Makes `node` the owner of these branches, whoever has them: all nodes but
/// this one are ended, this one starts. @throws std::runtime_error
std::vector<ownership>
take_over(const std::string& analytics_dsn, const std::string& node,
          const std::vector<std::string>& branch_ids);

} // namespace tillstream::test

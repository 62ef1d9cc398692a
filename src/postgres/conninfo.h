// Connection strings, quoting and names as libpq and PostgreSQL want them. All pure.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cluster/member.h"

namespace pgsteady::pg {

// {"host", "a b"} → host='a b'. Pairs with an empty value are left out.
std::string conninfo(const std::vector<std::pair<std::string, std::string>>& pairs);
// "host:port" ("[::1]:5432") of a connection string; empty when it names no host or can't be read.
std::string upstream_of_conninfo(const std::string& text);

std::string sql_literal(std::string_view text);     // 'it''s', E'..' when there are backslashes
std::string sql_identifier(std::string_view name);  // "a""b"
std::string guc_literal(std::string_view value);    // for postgresql.conf: 'it''s', one line
std::string pgpass_field(std::string_view field);   // ':' and '\' escaped

}  // namespace pgsteady::pg

// Places where the rules can be broken on purpose, so that the simulator can show that it notices:
// MUTANT(name) is true while that mutant is the present one of this thread. Only the library
// mutant_rules is compiled with PGSTEADY_MUTANTS; in production each is the constant false. Used
// where sim/mutation.h cannot reach: inside one function.
#pragma once

#ifdef PGSTEADY_MUTANTS
#include <string_view>

namespace pgsteady::lease {
inline thread_local std::string_view present_mutant;
}
#define MUTANT(name) (::pgsteady::lease::present_mutant == #name)
#else
#define MUTANT(name) false
#endif

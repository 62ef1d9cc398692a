// Packets of protocol.h ↔ the words of lease/guardian.h, on the guardian's side.
#pragma once

#include <string>
#include <vector>

#include "guard/protocol.h"
#include "lease/guardian.h"

namespace pgsteady::guard {

struct Packet {
  lease::Request request;
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  std::string output_path;
};

// Empty when the packet is well-formed; else what is wrong with it.
std::string parse_packet(const char* data, std::size_t bytes, Packet& out);

// A header and its text, ready to be sent.
std::string make_packet(const lease::Notice& notice, lease::Instant now);

}  // namespace pgsteady::guard

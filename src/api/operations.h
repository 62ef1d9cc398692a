// Requests that change something: who may ask, and what is asked, as the policy understands it.
#pragma once

#include <tl/expected.hpp>

#include "cluster/server_settings.h"
#include "core/request.h"
#include "http/message.h"

namespace pgsteady::api {

// Any method but GET, HEAD and OPTIONS.
bool is_operation(const http::Request& request);

// The request, or the response that refuses it: 401 without the `required` name and password
// (an empty name asks for none), 411 without a length, 400 for a body that is no JSON object, 501
// for what there is no operation for. Whether it makes sense, the policy says.
tl::expected<core::Request, http::Response> parse_operation(const http::Request& request,
                                                            const Credentials& required);

// The policy's answer.
http::Response answer_operation(int status, std::string text);

}  // namespace pgsteady::api

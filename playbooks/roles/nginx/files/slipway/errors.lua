-- What a caller is told instead of an answer, in the form that its client reads: OpenAI's, and Anthropic's on its own paths.

local cjson = require "cjson"

local M = {}

local OPENAI = {[401] = "authentication_error", [403] = "permission_error", [429] = "rate_limit_error"}
local ANTHROPIC = {
    [401] = "authentication_error",
    [403] = "permission_error",
    [404] = "not_found_error",
    [413] = "request_too_large",
    [429] = "rate_limit_error",
    [504] = "timeout_error",
    [529] = "overloaded_error",
}

-- A refusal: status, code and message, and more = {param, kind, headers}. The message says what is wrong and what to do. It
-- holds nothing of a request's content and no address.
function M.refusal(status, code, message, more)
    more = more or {}
    return {
        status = status, code = code, message = message, param = more.param, kind = more.kind, headers = more.headers or {},
    }
end

-- As a JSON text, which is UTF-8: what a caller wrote may be anything.
local function quote(message)
    if message:find("[\128-\255]") and select(3, ngx.re.find(message, "^", "u")) then
        message = message:gsub("[\128-\255]", "?")
    end
    return cjson.encode(message)
end

local function text(refusal, anthropic)
    local server = refusal.status >= 500
    if anthropic then
        local kind = ANTHROPIC[refusal.status] or (server and "api_error" or "invalid_request_error")
        return '{"type":"error","error":{"type":' .. quote(kind) .. ',"message":' .. quote(refusal.message) .. "}}"
    end
    local kind = refusal.kind or OPENAI[refusal.status] or (server and "server_error" or "invalid_request_error")
    return '{"error":{"message":' .. quote(refusal.message) .. ',"type":' .. quote(kind) .. ',"param":'
        .. (refusal.param and quote(refusal.param) or "null") .. ',"code":'
        .. (refusal.code and quote(refusal.code) or "null") .. "}}"
end
M.text = text

-- The refusal as the last event of a stream that has begun.
function M.event(refusal, anthropic)
    return (anthropic and "event: error\n" or "") .. "data: " .. text(refusal, anthropic) .. "\n\n"
end

-- Answer the running request with it.
function M.send(refusal, anthropic)
    ngx.status = refusal.status
    local body = text(refusal, anthropic)
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Length"] = #body
    if refusal.status == 401 then
        ngx.header["WWW-Authenticate"] = "Bearer"
    end
    for name, value in pairs(refusal.headers) do
        ngx.header[name] = value
    end
    -- Else nginx would ask for a body that nobody reads.
    ngx.req.clear_header("Expect")
    ngx.print(body)
    return ngx.eof()
end

return M

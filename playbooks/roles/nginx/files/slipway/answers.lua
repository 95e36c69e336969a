-- Passes a backend's answer on to the caller: whole, or event by event, and reads from it what was used.

local cjson = require "cjson"
local deltas = require "slipway.deltas"
local errors = require "slipway.errors"
local notices = require "slipway.notices"

local M = {}

local find, sub = string.find, string.sub
-- What nginx says by itself; see nginx.conf.
local DEFAULT_TYPE = "application/json"

-- Usage as the families tell it: in the object, or in the one that an event is about.
local function told_by(holder, usage)
    local found = type(holder) == "table" and holder.usage
    if type(found) ~= "table" then
        return
    end
    local prompt = tonumber(found.prompt_tokens)
    if not prompt and found.input_tokens then
        prompt = (tonumber(found.input_tokens) or 0) + (tonumber(found.cache_creation_input_tokens) or 0)
            + (tonumber(found.cache_read_input_tokens) or 0)
    end
    local answer = tonumber(found.completion_tokens) or tonumber(found.output_tokens)
    if not prompt and not answer then
        prompt = tonumber(found.total_tokens)
    end
    usage.prompt = math.max(prompt or 0, usage.prompt or 0)
    usage.answer = math.max(answer or 0, usage.answer or 0)
end

local function told(data, usage)
    if type(data) == "table" then
        told_by(data, usage)
        told_by(data.response, usage)
        told_by(data.message, usage)
    end
end

local function decoded(text)
    local ok, data = pcall(cjson.decode, text)
    return ok and type(data) == "table" and data or nil
end

local function data_of(event)
    local parts = {}
    for line in event:gmatch("[^\r\n]+") do
        local data = line:match("^data: ?(.*)$")
        if data then
            parts[#parts + 1] = data
        end
    end
    return table.concat(parts, "\n")
end

-- Which release of which engine answers is nobody's business. An unescaped quote is never within a text.
local function discreet(text)
    if find(text, 'system_fingerprint":', 1, true) then
        text = text:gsub('"system_fingerprint":%s*"[^"]*"', '"system_fingerprint":null')
    end
    return text
end

-- What an error of a backend says, as a refusal: whatever form it has. status: its own.
local WORDS = {
    {"maximum context length", "context_length_exceeded"},
    {"context length is only", "context_length_exceeded"},
    {"longer than the maximum model length", "context_length_exceeded"},
    {"exceeds the available context size", "context_length_exceeded"},
}
local GRAMMAR = {"grammar", "regex", "json schema", "structured output"}

function M.refusal(status, text)
    local data = decoded(text) or {}
    local fault = type(data.error) == "table" and data.error or data
    local message = fault.message or fault.detail or (type(data.error) == "string" and data.error)
    if type(message) ~= "string" then
        message = type(message) == "table" and cjson.encode(message) or "The model refused the request and did not say why."
    end
    local code = type(fault.code) == "string" and not fault.code:find("^%d+$") and fault.code or nil
    local lower = message:lower()
    for _, pair in ipairs(WORDS) do
        if lower:find(pair[1], 1, true) then
            status, code = 400, pair[2]
        end
    end
    if lower:find("enable-auto-tool-choice", 1, true) or lower:find("tool-call-parser", 1, true) then
        code = "tools_not_supported"
        message = "This model is served without a parser for tool calls, so it takes no tool_choice 'auto'. Who runs the "
            .. "service can set one for the model in the stack."
    end
    if status == 500 then
        for _, word in ipairs(GRAMMAR) do
            if lower:find(word, 1, true) then
                status, code = 400, "invalid_structured_output"
            end
        end
    end
    local param = type(fault.param) == "string" and fault.param or nil
    return errors.refusal(status, code or "invalid_request", message, {param = param})
end

-- An answer that is an error although its status is 200: Ollama and vLLM send such as the first event of a stream.
local function error_in(event)
    if not find(event, '"error"', 1, true) then
        return nil
    end
    -- Several events may have come at once.
    for line in event:gmatch("data: ?([^\r\n]+)") do
        local data = find(line, '"error"', 1, true) and decoded(line)
        local holder = data and (data.type == "response.failed" and data.response or data)
        if type(holder) == "table" and (holder ~= data or not data.object) and holder.error
            and holder.error ~= cjson.null then
            return holder
        end
    end
end

local function head(answer, name, request)
    if answer.status ~= 200 then
        ngx.status = answer.status
    end
    local kind = answer:header("content-type")
    if kind ~= DEFAULT_TYPE then
        ngx.header["Content-Type"] = kind
    end
    ngx.var.slipway_told = notices.line(request.headers, name)
end

-- Pass a whole answer on. listen(data): is called with what it says, where it is there. Returns true, or nil and what went
-- wrong.
function M.whole(answer, name, request, usage, listen)
    local text, fault = answer:whole()
    if not text then
        return nil, fault
    end
    local data = (listen or request.family ~= "tokenize") and decoded(text)
    if request.family ~= "tokenize" then
        told(data, usage)
    end
    if listen and data then
        listen(data)
    end
    text = discreet(text)
    head(answer, name, request)
    ngx.header["Content-Length"] = #text
    ngx.print(text)
    ngx.eof()
    return true
end

-- Events that say nothing of an answer yet: a backend that dies after them can still be left for another.
local OPENING = {
    message_start = true, content_block_start = true, ping = true, ["response.created"] = true, ["response.queued"] = true,
    ["response.in_progress"] = true, ["response.output_item.added"] = true, ["response.content_part.added"] = true,
}

local function opening(event)
    local name = event:match("^event: ?([%w_.]+)")
    return (name and OPENING[name]) or not event:find("%S") or event:sub(1, 1) == ":"
end

-- The first events of a stream, up to the end of the first that comes from a model: text, or nil and what went wrong.
local function first_events(answer)
    local text, at = "", 1
    while true do
        local piece, fault = answer:next()
        if not piece then
            if text:find("%S") and not fault then
                return text
            end
            return nil, fault or "empty"
        end
        text = text .. piece
        if find(text, "\r\n", 1, true) then
            text = text:gsub("\r\n", "\n")
        end
        while true do
            local ends, to = find(text, "\n\n", at, true)
            if not ends then
                break
            end
            if not opening(sub(text, at, ends)) then
                return text
            end
            at = to + 1
        end
    end
end

-- Pass a stream on. hide: leave out the event with the usage alone, which only we asked for. begun(): is called when the
-- first byte goes to the caller. heard(): is called with each piece. listen(data): is called with what each event says, where
-- it is there.
--
-- Returns true; nil, what went wrong, and, where that is an error in place of an answer, the error's text. After `begun`
-- it is always true: what goes wrong then is told as the last event.
function M.stream(answer, name, request, usage, calls)
    local text, fault = first_events(answer)
    if not text then
        return nil, fault
    end
    -- What the gateway says after an answer's beginning belongs to the answer, also where both come at once.
    local wrong = error_in(request.through and text:match("^.-\n\n") or text)
    if wrong then
        return nil, "error", cjson.encode(wrong)
    end
    head(answer, name, request)
    calls.begun()
    local hide, rest = request.hide_usage, text
    local ended
    while true do
        -- Whole events go out; one that has not ended waits.
        local at, out = 1, nil
        while true do
            local ends, to = find(rest, "\n\n", at, true)
            if not ends then
                break
            end
            usage.events = usage.events + 1
            if calls.listen then
                local said = decoded(data_of(sub(rest, at, ends)))
                if said then
                    calls.listen(said)
                end
            end
            -- Without the quote before it, of which every event has dozens.
            if find(rest, 'usage":', at, true) then
                local event = sub(rest, at, to)
                local hidden = false
                if find(event, '"usage":%s*{') then
                    local data = decoded(data_of(event))
                    if data then
                        told(data, usage)
                        hidden = hide and type(data.choices) == "table" and #data.choices == 0
                            and type(data.usage) == "table"
                    end
                end
                if not hidden then
                    out = (out or "") .. event
                end
            else
                out = (out or "") .. (at == 1 and to == #rest and rest or sub(rest, at, to))
            end
            at = to + 1
        end
        rest = at > #rest and "" or sub(rest, at)
        if ended then
            out = (out or "") .. rest
        end
        if out and out ~= "" then
            ngx.print(discreet(request.family == "chat" and deltas.joined(out) or out))
            local ok, lost = ngx.flush(true)
            if not ok and lost then
                return true  -- the caller has left
            end
        end
        if ended then
            break
        end
        local piece, broken = answer:next()
        if broken then
            calls.broken(broken)
            local words = broken == "late" and {504, "timeout", "The answer took longer than this service allows."}
                or {502, "backend_lost", "The backend was lost in the middle of this answer."}
            ngx.print(errors.event(errors.refusal(unpack(words)), request.anthropic))
            ngx.eof()
            return true
        end
        if piece then
            calls.heard()
            if find(piece, "\r\n", 1, true) then
                piece = piece:gsub("\r\n", "\n")
            end
            rest = rest == "" and piece or rest .. piece
        else
            ended = true
        end
    end
    ngx.eof()
    return true
end

return M

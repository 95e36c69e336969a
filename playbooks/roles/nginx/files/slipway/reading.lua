-- What a request asks for, and whose key it brings: its path, its headers, and the fields of its body that the front has to
-- know.

local body = require "slipway.body"
local cjson = require "cjson"
local errors = require "slipway.errors"
local files = require "slipway.files"
local keys = require "slipway.keys"
local paths = require "slipway.paths"

local M = {}

local refusal = errors.refusal
local MAX_CHOICES = 128
local WRONG_KEY_WAIT_S = 0.1
local OBJECTS = {"response_format", "structured_outputs"}
local MOST_TOKENS, CHOICES = {"max_completion_tokens", "max_tokens", "max_output_tokens"}, {"n", "best_of"}
-- Where a request may hold several texts, each of which is read, and answered, as one of its own.
local TEXTS = {completions = {"prompt", "prompt_embeds"}, embeddings = {"input"}, rerank = {"documents"}}

-- What is found out before the body is there: the path, and whose the key is. Fills `request`; returns a refusal or nil.
function M.look(request)
    local ctx = request.ctx
    local place = paths.find(ctx.uri)
    if not place then
        return refusal(404, "unknown_url", "There is no such path here.")
    end
    request.path, request.family, request.model_in_path = place.path, place.family, place.model
    request.listing = place.listing
    -- As logs have it: without the name of a model, which may be anything.
    ctx.path = place.listing and "/v1/models" or place.path
    ngx.var.slipway_path = ctx.path
    request.anthropic = place.family == "messages"
    local now = request.now
    request.key = keys.given(request.headers)
    local team, key
    if request.key then
        team, key = keys.find(files.content("teams").index, request.key, now)
    end
    if not team then
        -- A good key passes all the same: many callers may share an address.
        if request.key and keys.wrong(ngx.var.remote_addr, now) then
            -- Who tries keys in a loop takes the machine's time from everybody; waiting costs none.
            ngx.sleep(WRONG_KEY_WAIT_S)
            return refusal(429, "too_many_wrong_keys", "This address sent too many wrong keys. Try again in a minute.",
                {headers = {["Retry-After"] = "60"}})
        end
        return refusal(401, "invalid_api_key",
            "No valid API key was given. Send it as the header 'Authorization: Bearer KEY' or 'x-api-key: KEY'.")
    end
    request.team = team
    ctx.team, ctx.key = team, key.id
    if not paths.harmless(ctx.args) then
        return refusal(400, "unknown_query", "The URL has a query string that this path does not take. A key belongs in a header.")
    end
    local method = ctx.method
    local wanted = request.listing and "GET" or "POST"
    if method ~= wanted and not (wanted == "GET" and method == "HEAD") then
        return refusal(405, "method_not_allowed", method:match("^%u+$") and (method .. " is no method of this path.")
            or "This is no method of this path.", {headers = {Allow = wanted}})
    end
end

local function whole_number(value)
    return type(value) == "number" and value >= 0 and value == math.floor(value) and value or nil
end

-- The greatest whole number among some fields, or nil; and a refusal where one holds no number at all. An engine takes "128" for
-- 128, and which of two fields it goes by depends on the engine.
local function greatest(raw, fields, names)
    local most
    for _, name in ipairs(names) do
        local value = body.value(raw, fields, name)
        if value ~= nil and value ~= cjson.null and type(value) ~= "number" then
            return nil, refusal(400, "invalid_type", "The field '" .. name .. "' is no number.", {param = name})
        end
        value = whole_number(value)
        most = value and math.max(most or 0, value) or most
    end
    return most
end

-- How many texts the body holds, and how many bytes of prompts that is: a query is read once with each document.
local function texts(raw, fields, family)
    local count, bytes = 0, #raw
    for _, name in ipairs(TEXTS[family] or {}) do
        count = count + (fields[name] and body.values(raw, fields[name]) or 0)
    end
    count = math.max(1, count)
    if family == "rerank" and fields.query then
        bytes = bytes + (count - 1) * (fields.query[2] - fields.query[1] + 1)
    end
    return count, bytes
end

-- What the body says, as far as the front has to know it: fills `request`; returns a refusal or nil.
function M.read(request, routes)
    local raw = request.raw
    local fields, fault = body.scan(raw)
    if not fields then
        if fault == "json" then
            return refusal(400, "invalid_json", "The body is no valid JSON object.")
        end
        return refusal(400, "invalid_json", "The body has a field twice.")
    end
    for name in pairs(fields) do
        if not paths.allows(request.family, name, request.path, routes.extra_fields) then
            local shown = name:match("^[%w_.-]+$") and #name <= 64 and name or nil
            return refusal(400, "unknown_parameter", shown and ("The field '" .. shown .. "' is not accepted here.")
                or "The body has a field that is not accepted here.", {param = shown})
        end
    end
    request.fields = fields
    local model = body.value(raw, fields, "model")
    request.model_in_body = model
    if model == nil or model == cjson.null then
        model = request.model_in_path
    end
    if type(model) ~= "string" or model == "" or #model > 256 then
        return refusal(400, "missing_model", "The field 'model' is missing: name the model that is to answer.",
            {param = "model"})
    end
    request.asked = model
    local stream = body.value(raw, fields, "stream")
    if stream ~= nil and stream ~= cjson.null and type(stream) ~= "boolean" then
        return refusal(400, "invalid_type", "The field 'stream' is neither true nor false.", {param = "stream"})
    end
    request.stream = stream == true
    for _, name in ipairs(OBJECTS) do
        local range = fields[name]
        local first = range and raw:sub(range[1], range[1])
        if first == "{" then
            request.structured = true
        elseif first and first ~= "n" then
            return refusal(400, "invalid_type", "The field '" .. name .. "' is no object.", {param = name})
        end
    end
    local choices, wrong
    request.max_tokens, wrong = greatest(raw, fields, MOST_TOKENS)
    if wrong then
        return wrong
    end
    choices, wrong = greatest(raw, fields, CHOICES)
    if wrong then
        return wrong
    end
    request.choices = math.max(1, choices or 1)
    if request.choices > MAX_CHOICES then
        return refusal(400, "invalid_value", "The field 'n' is larger than " .. MAX_CHOICES .. ".", {param = "n"})
    end
    request.texts, request.bytes = texts(raw, fields, request.family)
    if request.family == "responses" then
        -- Whoever keeps responses, an engine or a provider, knows nothing of teams: one team could read on in what is another's.
        local previous, background = body.value(raw, fields, "previous_response_id"), body.value(raw, fields, "background")
        if previous ~= nil and previous ~= cjson.null then
            return refusal(400, "previous_response_not_found", "No responses are kept here, so none can be gone on with: "
                .. "send the whole conversation in 'input'.", {param = "previous_response_id"})
        elseif background ~= nil and background ~= cjson.null and background ~= false then
            return refusal(400, "unsupported_parameter", "No responses are kept here, so none can be made in the background: "
                .. "stream it.", {param = "background"})
        end
    end
    if request.stream and (request.family == "chat" or request.family == "completions") then
        local options = body.value(raw, fields, "stream_options")
        if options == body.BAD or (options ~= nil and options ~= cjson.null and type(options) ~= "table") then
            return refusal(400, "invalid_type", "The field 'stream_options' is no object.", {param = "stream_options"})
        end
        options = type(options) == "table" and options or {}
        request.hide_usage = options.include_usage ~= true
        options.include_usage = true
        request.stream_options = cjson.encode(options)
    end
end

return M

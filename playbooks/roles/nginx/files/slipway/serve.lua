-- Every request: what it asks for, whose key it brings, what that team may still use; then who answers.

local answers = require "slipway.answers"
local balance = require "slipway.balance"
local body = require "slipway.body"
local cjson = require "cjson"
local content = require "slipway.content"
local errors = require "slipway.errors"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local http = require "slipway.http"
local incoming = require "slipway.incoming"
local journal = require "slipway.journal"
local keys = require "slipway.keys"
local limits = require "slipway.limits"
local money = require "slipway.money"
local paths = require "slipway.paths"
local routes_of = require "slipway.routes"
local usage_of = require "slipway.usage"

local M = {}

local refusal = errors.refusal
local PASSED = {"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta", "user-agent"}
local GENERATES = {chat = true, completions = true, responses = true, messages = true}
local MAX_CHOICES = 128
local MAX_LOST = 2
local BEGUN_SILENT_S = 5
local MAX_HEADERS = 100
local WRONG_KEY_WAIT_S = 0.1

local function whole_number(value)
    return type(value) == "number" and value >= 0 and value == math.floor(value) and value or nil
end

-- What the body says, as far as the front has to know it: fills `request`; returns a refusal or nil.
local function read_json(request, routes)
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
    for _, name in ipairs({"max_completion_tokens", "max_tokens", "max_output_tokens"}) do
        request.max_tokens = request.max_tokens or whole_number(body.value(raw, fields, name))
    end
    local choices = 1
    for _, name in ipairs({"n", "best_of"}) do
        choices = math.max(choices, whole_number(body.value(raw, fields, name)) or 1)
    end
    if choices > MAX_CHOICES then
        return refusal(400, "invalid_value", "The field 'n' is larger than " .. MAX_CHOICES .. ".", {param = "n"})
    end
    if request.max_tokens then
        request.max_tokens = request.max_tokens * choices
    end
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

-- The body as a backend is to get it: with its own name for the model, and asked for usage.
local function for_backend(request, name)
    local values = {}
    if request.model_in_body ~= name then
        values.model = cjson.encode(name)
    end
    if request.family == "responses" then
        values.store = "false"
    end
    if request.hide_usage then
        values.stream_options = request.stream_options
    end
    return next(values) and body.with(request.raw, request.fields, values) or request.raw
end

local function passed_headers(request)
    local found = {["x-request-id"] = ngx.ctx.slipway.request, ["connection"] = "keep-alive"}
    for _, name in ipairs(PASSED) do
        local value = request.headers[name]
        if type(value) == "string" and not value:find("[%c]") then
            found[name] = value
        end
    end
    if request.fields then
        found["content-type"] = "application/json"
    end
    return found
end

local function lost(name)
    return refusal(503, "backend_unavailable", "No backend of the model '" .. name
        .. "' gives an answer. Try again later.", {headers = {["Retry-After"] = "1"}})
end

-- Ask one peer. Returns "answered", or a verdict and what to tell the caller if nobody else answers: "wrong" (nobody will
-- take it), "unreached", "lost" (it may have died of it), "left" (it fell silent), "failed" or "full".
local function try(request, peer, name, backend)
    local ctx = ngx.ctx.slipway
    local headers = passed_headers(request)
    if backend then
        if backend.key then
            headers["authorization"] = "Bearer " .. backend.key
        end
    else
        headers["authorization"] = "Bearer " .. request.key
    end
    local text = request.fields and for_backend(request, backend and backend.model or request.asked) or request.raw
    local id = backend and backend.id
    local begun, tried = false, ctx.tried
    local function heard()
        if id then
            balance.heard(id, ngx.now(), ctx.connection)
        end
    end
    local function patience()
        ngx.update_time()
        if ngx.now() >= ctx.deadline then
            return "late"
        end
        if id and not begun and balance.state(id) == "silent" and balance.another(ctx.backends, tried) then
            return "left"
        end
        -- Nobody else can go on with what has begun; a pause of the network is no reason to end it.
        if id and begun and balance.silent_for(id, BEGUN_SILENT_S) then
            return "left"
        end
    end
    local question = {method = "POST", path = request.path, headers = headers, body = text}
    -- From here on something may be generated, also where the caller leaves before it comes.
    ctx.generated = true
    local answer, kind, fault = http.ask(peer, question, patience)
    if not answer then
        ctx.generated = false
        if fault == "late" then
            return "wrong", refusal(504, "timeout", "No answer in the time that this service allows.")
        elseif kind == "connect" then
            return "unreached", lost(name)
        elseif fault == "left" then
            return "left", lost(name)
        end
        return "lost", lost(name)
    end
    heard()
    if answer.status >= 300 then
        local words, broken = answer:whole(1048576)
        answer:close()
        ctx.generated = false
        if not words then
            return broken == "left" and "left" or "lost", lost(name)
        end
        local found = answers.refusal(answer.status, words)
        if not backend then
            -- The gateway speaks for its backends; its words are ours, in the caller's form.
            found.status = answer.status
            found.headers["Retry-After"] = answer.headers["retry-after"]
            return "wrong", found
        end
        if answer.status == 429 or answer.status == 503 then
            return "full", refusal(503, "overloaded", "The model '" .. name
                .. "' has all the requests that it can hold. Try again later.", {headers = {["Retry-After"] = "1"}})
        elseif answer.status == 408 or answer.status == 504 then
            return "failed", refusal(504, "backend_timeout", "The backend of the model '" .. name
                .. "' took too long. Try again later.")
        elseif found.status >= 500 then
            return "failed", refusal(502, "backend_failed", "The backend of the model '" .. name
                .. "' failed. Try again later.")
        elseif answer.status == 401 or answer.status == 403 or answer.status == 404 then
            return "failed", refusal(502, answer.status == 404 and "backend_without" or "backend_refused",
                "The backend of the model '" .. name .. "' does not serve this. Try again later.")
        end
        found.status = found.status < 400 and 502 or found.status
        return "wrong", found
    end
    local usage = ctx.usage
    local more = {headers = request.answer_headers, family = request.family, anthropic = request.anthropic,
        hide_usage = request.hide_usage, through = not backend}
    -- The model of a form is the gateway's to know.
    local answered_by = backend and name or answer.headers["x-slipway-model"] or request.fields and name or nil
    ctx.price = request.costs and answered_by and money.price(ctx.routes, answered_by)
    local kind_of = answer.headers["content-type"] or ""
    local listen = ctx.kept and function(data)
        content.heard(ctx.kept, data)
    end
    local ok, what, wrong
    if kind_of:find("text/event-stream", 1, true) then
        ok, what, wrong = answers.stream(answer, answered_by, more, usage, {
            begun = function()
                begun = true
                ctx.first_seconds = ngx.now() - ctx.began
            end,
            heard = heard,
            listen = listen,
            broken = function(reason)
                ctx.error = reason == "late" and "timeout" or "backend_lost"
                if id and reason ~= "late" then
                    balance.failed(id)
                end
            end,
        })
    else
        ok, what = answers.whole(answer, answered_by, more, usage, listen)
    end
    if ok then
        answer:done()
        ctx.model = answered_by
        return "answered"
    end
    answer:close()
    if what == "late" then
        return "wrong", refusal(504, "timeout", "No answer in the time that this service allows.")
    elseif what == "left" then
        return "left", lost(name)
    elseif what == "error" then
        local found = answers.refusal(500, wrong)
        if not backend then
            -- It has told a backend's failure in its own words, or that a filter stopped the answer.
            found.status = wrong:find('"invalid_request_error"', 1, true) and 400 or 502
            return "wrong", found
        elseif found.status == 500 then
            return "failed", refusal(502, "backend_failed", "The backend of the model '" .. name
                .. "' failed. Try again later.")
        end
        return "wrong", found
    end
    return "lost", lost(name)
end

-- Have the first backend answer that can; returns nil, or the refusal when none could.
local function answer(request, steps)
    local ctx = ngx.ctx.slipway
    local told
    for _, step in ipairs(steps) do
        if step.gateway then
            ctx.backend = "gateway"
            local verdict, found = try(request, step.gateway, request.asked, nil)
            if verdict == "answered" then
                return nil
            elseif verdict == "wrong" then
                return found
            end
            told = told or refusal(503, "gateway_unavailable", "The gateway does not answer. Try again later.",
                {headers = {["Retry-After"] = "2"}})
        else
            ctx.tried, ctx.backends = {}, step.backends
            local reached = 0
            while reached < 2 do
                local chosen = balance.choose(step.backends, ctx.tried)
                if not chosen then
                    break
                end
                ctx.tried[chosen.id] = true
                ctx.backend, ctx.held = chosen.id, "backend|" .. chosen.id
                gauges.enter(ctx.held)
                local verdict, found = try(request, chosen, step.model, chosen)
                local others = gauges.leave(ctx.held) > 0
                ctx.held = nil
                if verdict == "answered" then
                    return nil
                elseif verdict == "wrong" then
                    return found
                end
                told = found
                if verdict ~= "unreached" then
                    reached = reached + 1
                end
                if verdict == "unreached" then
                    balance.set(chosen.id, "gone")
                elseif verdict ~= "full" and verdict ~= "left" then
                    balance.failed(chosen.id)
                end
                if verdict == "lost" then
                    -- A request that takes its backend down is not to take the next one as well.
                    if balance.lost(chosen.id, others, ctx.connection) then
                        balance.suspect(files.sha256(request.raw))
                        return found
                    end
                end
            end
        end
    end
    return told or lost(request.asked)
end

local function preflight(routes, headers)
    local origin = headers["origin"]
    if ngx.req.get_method() ~= "OPTIONS" or type(origin) ~= "string" or not headers["access-control-request-method"] then
        return false
    end
    if not routes.allowed_origins[origin] then
        errors.send(refusal(403, "origin_not_allowed", "Pages of this origin may not ask here."))
        return true
    end
    ngx.status = 204
    ngx.header["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
    ngx.header["Access-Control-Allow-Headers"] = "authorization, content-type, x-api-key, api-key, anthropic-version, "
        .. "anthropic-beta, openai-beta, openai-organization, openai-project, x-request-id, x-stainless-arch, "
        .. "x-stainless-lang, x-stainless-os, x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, "
        .. "x-stainless-runtime-version, x-stainless-timeout, x-stainless-helper-method"
    ngx.header["Access-Control-Max-Age"] = "600"
    ngx.eof()
    return true
end

local function list(routes, team, name)
    local found = routes_of.listed(routes, team)
    if name ~= "" then
        for _, entry in ipairs(found) do
            if entry.id == name then
                return cjson.encode(entry)
            end
        end
        local _, why = routes_of.resolve(routes, team, name)
        return nil, why
    end
    local first, last = found[1], found[#found]
    return '{"object":"list","data":' .. (first and cjson.encode(found) or "[]") .. ',"has_more":false,"first_id":'
        .. (first and cjson.encode(first.id) or "null") .. ',"last_id":' .. (last and cjson.encode(last.id) or "null") .. "}"
end

-- What is found out before a team is known; returns a refusal or nil.
local function look(request, routes, headers)
    local place = paths.find(ngx.ctx.slipway.uri)
    if not place then
        return refusal(404, "unknown_url", "There is no such path here.")
    end
    request.path, request.family, request.model_in_path = place.path, place.family, place.model
    request.listing = place.listing
    -- As logs have it: without the name of a model, which may be anything.
    ngx.ctx.slipway.path = place.listing and "/v1/models" or place.path
    ngx.var.slipway_path = ngx.ctx.slipway.path
    request.anthropic = place.family == "messages"
    local now = ngx.now()
    request.key = keys.given(headers)
    local team, key
    if request.key then
        team, key = keys.find(files.content("teams").index, request.key, now)
    end
    if not team then
        -- A good key passes all the same: many callers may share an address.
        if request.key and limits.wrong(ngx.var.remote_addr, now) then
            -- Who tries keys in a loop takes the machine's time from everybody; waiting costs none.
            ngx.sleep(WRONG_KEY_WAIT_S)
            return refusal(429, "too_many_wrong_keys", "This address sent too many wrong keys. Try again in a minute.",
                {headers = {["Retry-After"] = "60"}})
        end
        return refusal(401, "invalid_api_key",
            "No valid API key was given. Send it as the header 'Authorization: Bearer KEY' or 'x-api-key: KEY'.")
    end
    request.team = team
    local ctx = ngx.ctx.slipway
    ctx.team, ctx.key = team, key.id
    if not paths.harmless(ngx.var.args) then
        return refusal(400, "unknown_query", "The URL has a query string that this path does not take. A key belongs in a header.")
    end
    local method = ngx.req.get_method()
    local wanted = request.listing and "GET" or "POST"
    if method ~= wanted and not (wanted == "GET" and method == "HEAD") then
        return refusal(405, "method_not_allowed", method:match("^%u+$") and (method .. " is no method of this path.")
            or "This is no method of this path.", {headers = {Allow = wanted}})
    end
end

local function serve(request, routes)
    local ctx = ngx.ctx.slipway
    local headers = request.headers
    local found = look(request, routes, headers)
    if found then
        return found
    end
    local team = request.team
    if request.listing then
        local text, why = list(routes, team, request.model_in_path)
        if not text then
            return why
        end
        ngx.header["Content-Type"] = "application/json"
        ngx.header["Content-Length"] = #text
        ngx.print(text)
        ngx.eof()
        return nil
    end
    request.raw, found = incoming.body()
    if found then
        return found
    end
    ctx.kept = team.log_content and content.begin(request.raw, headers["content-type"]) or nil
    local model
    local kind = headers["content-type"]
    if request.family == "transcriptions" then
        if type(kind) ~= "string" or not kind:lower():find("^multipart/form%-data") then
            return refusal(400, "invalid_form", "The body is no multipart form.")
        end
        request.asked = "transcription"
    else
        found = read_json(request, routes)
        if found then
            return found
        end
        ctx.asked, ctx.stream = request.asked, request.stream
        model, found = routes_of.resolve(routes, team, request.asked)
        if not model then
            return found
        end
        ctx.model = model.name
    end
    local now = ngx.now()
    local counts_only = request.family == "tokenize" or request.path:find("count_tokens", 1, true)
    request.costs = not counts_only
    local held, limit = limits.admit(team, {
        model = model and model.name or request.asked, bytes = #request.raw, max_tokens = request.max_tokens,
        context = model and model.context_window, generates = GENERATES[request.family] and not counts_only,
        price = request.costs and model and model.price or nil,
    }, now)
    request.answer_headers = limits.headers(team, now, held)
    if not held then
        local again = request.answer_headers
        if limit.wait_s then
            again["Retry-After"] = tostring(limit.wait_s)
        end
        return refusal(429, limit.code or "rate_limit_exceeded", limit.message or "The team " .. team.name .. " has used its "
            .. limit.limit .. (limit.wait_s and ". Try again in " .. limit.wait_s .. " s." or "."),
            {headers = again, kind = limit.code})
    end
    ctx.limit = held
    if balance.suspects() and balance.suspected(files.sha256(request.raw)) >= MAX_LOST then
        return refusal(503, "request_suspended", "Backends were lost while they answered just this request. It is not tried "
            .. "again for two minutes.", {headers = {["Retry-After"] = "120"}})
    end
    local steps
    if model then
        steps, found = routes_of.plan(routes, team, model, request.family, request.path)
        if not steps then
            return found
        end
    else
        local gateway = team.private and routes.gateways.private or not team.private and routes.gateways.open
        if not gateway then
            return refusal(503, "no_private_backend", "No backend that keeps requests here can be asked. Try again later.")
        end
        steps = {{gateway = gateway}}
    end
    return answer(request, steps)
end

local function run()
    incoming.unconditional()
    local headers, too_many = ngx.req.get_headers(MAX_HEADERS)
    -- Without what looks a name that is missing up once more, in another spelling.
    setmetatable(headers, nil)
    local routes, teams = files.content("routes"), files.content("teams")
    -- Each look at a variable of nginx costs microseconds.
    local ctx = {
        began = ngx.req.start_time(), usage = {events = 0}, tried = {}, backends = {}, uri = ngx.var.uri,
        request = ngx.var.slipway_request_id, connection = ngx.var.connection, routes = routes,
    }
    ngx.ctx.slipway = ctx
    local anthropic = ctx.uri:find("^/v1/messages") ~= nil
    if not routes or not teams then
        return errors.send(refusal(503, "not_ready", "The service is starting. Try again in a moment.",
            {headers = {["Retry-After"] = "1"}}), anthropic)
    end
    if too_many then
        return errors.send(refusal(400, "too_many_headers", "The request has more than " .. MAX_HEADERS .. " headers."), anthropic)
    end
    local origin = headers["origin"]
    if type(origin) == "string" and routes.allowed_origins[origin] then
        ngx.header["Access-Control-Allow-Origin"] = origin
        ngx.header["Access-Control-Expose-Headers"] = "x-request-id, x-slipway-model, retry-after"
        ngx.header["Vary"] = "Origin"
    end
    if preflight(routes, headers) then
        return
    end
    ctx.deadline = ngx.now() + routes.timeout_s
    local found = serve({headers = headers, answer_headers = {}}, routes)
    if found then
        ctx.error = found.code
        for name, value in pairs(ctx.limit and limits.headers(ctx.team, ngx.now()) or {}) do
            found.headers[name] = found.headers[name] or value
        end
        return errors.send(found, anthropic)
    end
end

-- The content phase.
function M.run()
    local ok, fault = pcall(run)
    if not ok then
        journal.say(ngx.ERR, "a request failed: ", tostring(fault))
        if not ngx.headers_sent then
            errors.send(refusal(500, "internal_error", "The front failed; its journal says more."))
        end
    end
end

local function over()
    local ctx = ngx.ctx.slipway
    if not ctx then
        return
    end
    if ctx.held then
        gauges.leave(ctx.held)
    end
    if not ctx.team then
        return
    end
    local now = ngx.now()
    local usage = ctx.usage
    -- A stream that broke off told no usage: each event was about a token.
    local out = usage.answer or (usage.events > 0 and usage.events or nil)
    local cost, aside
    if ctx.limit then
        cost, aside = limits.settle(ctx.limit, usage.prompt, out, ctx.generated, now, ctx.price)
    end
    local record = {
        time = os.date("!%Y-%m-%dT%H:%M:%S", now) .. (".%03dZ"):format(math.floor((now % 1) * 1000)),
        request = ctx.request, team = ctx.team.name, key = ctx.key,
        asked = ctx.model and ctx.asked or nil, model = ctx.model, backend = ctx.backend, path = ctx.path,
        counted = ctx.limit and true or nil, stream = ctx.stream, ["in"] = usage.prompt, out = out, status = ngx.status,
        money = cost, aside = aside,
        currency = cost and ctx.price.currency or aside and ctx.team.money_per_month.currency or nil,
        seconds = math.floor((now - ctx.began) * 1000 + 0.5) / 1000,
        first_seconds = ctx.first_seconds and math.floor(ctx.first_seconds * 1000 + 0.5) / 1000, error = ctx.error,
    }
    if ctx.asked or ctx.limit then
        usage_of.note(record, now)
    end
    if ctx.kept then
        content.write(ctx.kept, record, now)
    end
end

-- The log phase: the request is over, whatever became of it.
function M.over()
    local ok, fault = pcall(over)
    if not ok then
        journal.say(ngx.ERR, "a request was not accounted for: ", tostring(fault))
    end
end

return M

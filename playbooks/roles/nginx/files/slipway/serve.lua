-- Every request: what it asks for (reading.lua), what its team may still use (quota.lua), who answers (asking.lua).

local asking = require "slipway.asking"
local balance = require "slipway.balance"
local cjson = require "cjson"
local content = require "slipway.content"
local errors = require "slipway.errors"
local files = require "slipway.files"
local incoming = require "slipway.incoming"
local journal = require "slipway.journal"
local quota = require "slipway.quota"
local reading = require "slipway.reading"
local routes_of = require "slipway.routes"

local M = {}

local refusal = errors.refusal
local GENERATES = {chat = true, completions = true, responses = true, messages = true}
-- What a page may read of an answer beyond what browsers show of any: all that is ours (nginx.conf).
local EXPOSED = "x-request-id, x-slipway-model, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    .. "x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
local MAX_LOST = 2
local MAX_HEADERS = 100

local function preflight(routes, headers, method)
    local origin = headers["origin"]
    if method ~= "OPTIONS" or type(origin) ~= "string" or not headers["access-control-request-method"] then
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

-- What is done before the body is there, and with it taken in. Returns a refusal; or nil, and whether the rest is to be done.
local function receive(request, routes)
    local found = reading.look(request)
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
    return found, not found
end

-- Have it answered; returns nil or a refusal.
local function serve(request, routes)
    local ctx, team, headers = request.ctx, request.team, request.headers
    local found
    ctx.kept = team.log_content and content.begin(request.raw, headers["content-type"]) or nil
    local model
    local kind = headers["content-type"]
    if request.family == "transcriptions" then
        if type(kind) ~= "string" or not kind:lower():find("^multipart/form%-data") then
            return refusal(400, "invalid_form", "The body is no multipart form.")
        end
        request.asked = "transcription"
    else
        found = reading.read(request, routes)
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
    local texts, choices = request.texts or 1, request.choices or 1
    if model and texts * choices > model.places then
        -- To say that it is full would have the client ask again for ever.
        return refusal(400, "too_many_answers", ("The request has %d texts for %d answers each; the model '%s' takes %d answers "
            .. "at once. Send them in several requests."):format(texts, choices, request.asked, model.places))
    end
    local now = ngx.now()
    local counts_only = request.family == "tokenize" or request.path:find("count_tokens", 1, true)
    request.costs = not counts_only
    local held, limit = quota.admit(team, {
        model = model and model.name or request.asked, bytes = request.bytes or #request.raw, max_tokens = request.max_tokens,
        texts = texts, choices = choices,
        context = model and model.context_window, generates = GENERATES[request.family] and not counts_only,
        told = request.costs and model ~= nil, price = request.costs and model and model.price or nil,
    }, now)
    request.answer_headers = quota.headers(team, now, held)
    if not held then
        local again = request.answer_headers
        if limit.wait_s then
            again["Retry-After"] = tostring(limit.wait_s)
        end
        return refusal(429, limit.code or "rate_limit_exceeded", limit.message,
            {headers = again, kind = limit.code})
    end
    ctx.limit = held
    if balance.suspects(now) and balance.suspected(files.sha256(request.raw)) >= MAX_LOST then
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
        local step = routes_of.through(routes, team)
        if not step then
            return refusal(503, "no_private_backend", "No backend that keeps requests here can be asked. Try again later.")
        end
        steps = {step}
    end
    return asking.answer(request, steps)
end

-- Answer with a refusal, and what is left of the team's limits.
local function refuse(ctx, found)
    ctx.error = found.code
    for name, value in pairs(ctx.limit and quota.headers(ctx.team, ngx.now()) or {}) do
        found.headers[name] = found.headers[name] or value
    end
    return errors.send(found, ctx.anthropic)
end

-- Returns whether there is more to do.
local function begin()
    local headers, too_many = ngx.req.get_headers(MAX_HEADERS)
    -- Without what looks a name that is missing up once more, in another spelling.
    setmetatable(headers, nil)
    incoming.unconditional(headers)
    local routes, teams = files.content("routes"), files.content("teams")
    -- Each look at a variable of nginx costs microseconds, and so does ngx.ctx.
    local ctx = {
        began = ngx.req.start_time(), usage = {events = 0}, tried = {}, backends = {}, uri = ngx.var.uri, routes = routes,
    }
    ctx.request, ctx.method, ctx.args = ngx.var.slipway_asked:match("^(%S+) (%S+) (.*)$")
    ngx.ctx.slipway = ctx
    ctx.anthropic = ctx.uri:find("^/v1/messages") ~= nil
    if not routes or not teams then
        errors.send(refusal(503, "not_ready", "The service is starting. Try again in a moment.",
            {headers = {["Retry-After"] = "1"}}), ctx.anthropic)
        return false
    end
    if too_many then
        errors.send(refusal(400, "too_many_headers", "The request has more than " .. MAX_HEADERS .. " headers."), ctx.anthropic)
        return false
    end
    local origin = headers["origin"]
    if type(origin) == "string" and routes.allowed_origins[origin] then
        ngx.header["Access-Control-Allow-Origin"] = origin
        ngx.header["Access-Control-Expose-Headers"] = EXPOSED
        ngx.header["Vary"] = "Origin"
    end
    if preflight(routes, headers, ctx.method) then
        return false
    end
    local now = ngx.now()
    ctx.deadline = now + routes.timeout_s
    ctx.asking = {headers = headers, answer_headers = {}, ctx = ctx, now = now}
    local found, more = receive(ctx.asking, routes)
    if found then
        refuse(ctx, found)
    end
    return more
end

local function go_on()
    local ctx = ngx.ctx.slipway
    local found = serve(ctx.asking, ctx.routes)
    if found then
        refuse(ctx, found)
    end
end

local function guarded(step)
    local ok, found = pcall(step)
    if ok then
        return found
    end
    journal.say(ngx.ERR, "a request failed: ", tostring(found))
    if not ngx.headers_sent then
        errors.send(refusal(500, "internal_error", "The front failed; its journal says more."))
    end
    return false
end

-- The access phase: all up to the body. A phase of its own, since nginx does not see any more that a client leaves where a body
-- was waited for in the same phase.
function M.receive()
    if not guarded(begin) then
        -- It is answered: the content phase is not entered.
        return ngx.exit(ngx.HTTP_OK)
    end
end

-- The content phase.
function M.answer()
    guarded(go_on)
end

return M

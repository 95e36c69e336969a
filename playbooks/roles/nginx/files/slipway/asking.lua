-- Has somebody answer a request that is admitted: a backend of the model, one after the other until one can, or a gateway.

local answers = require "slipway.answers"
local balance = require "slipway.balance"
local body = require "slipway.body"
local cjson = require "cjson"
local content = require "slipway.content"
local errors = require "slipway.errors"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local http = require "slipway.http"
local money = require "slipway.money"

local M = {}

local refusal = errors.refusal
local PASSED = {"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta", "user-agent"}
local BEGUN_SILENT_S = 5

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
    local found = {["x-request-id"] = request.ctx.request, ["connection"] = "keep-alive"}
    for _, name in ipairs(PASSED) do
        local value = request.headers[name]
        if type(value) == "string" and value:find("^%C*$") then
            found[name] = value
        end
    end
    if request.fields then
        found["content-type"] = "application/json"
    end
    return found
end

-- The client's connection, which is asked for now and then only.
local function connection()
    return ngx.var.connection
end

local function lost(name)
    return refusal(503, "backend_unavailable", "No backend of the model '" .. name
        .. "' gives an answer. Try again later.", {headers = {["Retry-After"] = "1"}})
end

local function full(name)
    return refusal(503, "overloaded", "The model '" .. name .. "' has all the requests that it can hold. Try again later.",
        {headers = {["Retry-After"] = "1"}})
end

local function unavailable()
    return refusal(503, "gateway_unavailable", "The gateway does not answer. Try again later.",
        {headers = {["Retry-After"] = "2"}})
end

local function failed(name)
    return refusal(502, "backend_failed", "The backend of the model '" .. name .. "' failed. Try again later.")
end

-- Engines fail at a schema, regular expression or grammar that they can't work by, and don't say so.
local function unworkable()
    return refusal(400, "invalid_structured_output",
        "The model's engine can't work by the 'response_format' or 'structured_outputs' of the request.")
end

-- A request is about to be sent to a backend; false where that has as many as it may have, and refuses none by itself.
local function enter(ctx, backend)
    if backend.most then
        if gauges.enter(backend.place) > backend.most then
            gauges.leave(backend.place)
            return false
        end
        ctx.held_place = backend.place
    end
    ctx.held = "backend|" .. backend.id
    gauges.enter(ctx.held)
    return true
end

-- It is there no more; returns how many others are left.
function M.leave(ctx)
    local left = gauges.leave(ctx.held)
    if ctx.held_place then
        gauges.leave(ctx.held_place)
    end
    ctx.held, ctx.held_place = nil, nil
    return left
end

-- Ask one backend, or a gateway (through). Returns "answered", or a verdict and what to tell the caller if nobody else answers:
-- "wrong" (nobody will take it), "unreached", "lost" (it may have died of it), "left" (it fell silent), "failed", "erred" (by
-- itself or by the request: it does not say) or "full".
local function try(request, backend, name, through)
    local ctx = request.ctx
    local headers = passed_headers(request)
    if backend.key then
        headers["authorization"] = "Bearer " .. backend.key
        if through then
            headers["x-slipway-team"] = ctx.team.name
        end
    elseif through then
        headers["authorization"] = "Bearer " .. request.key
    end
    local text = request.fields and for_backend(request, through and request.asked or backend.model) or request.raw
    local id = backend.id
    local begun, tried, looked_after = false, ctx.tried, ctx.routes.backends[id]
    local function heard()
        balance.heard(id, ngx.now(), connection)
    end
    local function patience()
        ngx.update_time()
        if ngx.now() >= ctx.deadline then
            return "late"
        end
        if not begun and balance.state(id) == "silent" and balance.another(ctx.backends, tried) then
            return "left"
        end
        -- Nobody else can go on with what has begun; a pause of the network is no reason to end it.
        if begun and looked_after and balance.silent_for(id, BEGUN_SILENT_S) then
            return "left"
        end
    end
    local question = {method = "POST", path = request.path, headers = headers, body = text}
    -- From here on something may be generated, also where the caller leaves before it comes.
    ctx.generated = true
    local answer, kind, fault = http.ask(backend, question, patience)
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
        if through and backend.key and answer.status == 401 then
            -- It has another key, or does not know the team yet: that is nothing that the caller could mend.
            return "failed"
        elseif through then
            -- The gateway speaks for its backends; its words are ours, in the caller's form.
            found.status = answer.status
            found.headers["Retry-After"] = answer:header("retry-after")
            return "wrong", found
        end
        if answer.status == 429 or answer.status == 503 then
            return "full", full(name)
        elseif answer.status == 408 or answer.status == 504 then
            return "failed", refusal(504, "backend_timeout", "The backend of the model '" .. name
                .. "' took too long. Try again later.")
        elseif found.status >= 500 then
            return "erred", failed(name)
        elseif answer.status == 401 or answer.status == 403 or answer.status == 404 then
            return "failed", refusal(502, answer.status == 404 and "backend_without" or "backend_refused",
                "The backend of the model '" .. name .. "' does not serve this. Try again later.")
        end
        found.status = found.status < 400 and 502 or found.status
        return "wrong", found
    end
    local usage = ctx.usage
    local more = {headers = request.answer_headers, family = request.family, anthropic = request.anthropic,
        hide_usage = request.hide_usage, through = through}
    -- The model of a form is the gateway's to know.
    local answered_by = not through and name or answer:header("x-slipway-model") or request.fields and name or nil
    ctx.price = request.costs and answered_by and money.price(ctx.routes, answered_by)
    local kind_of = answer:header("content-type") or ""
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
                if reason ~= "late" then
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
        if through then
            -- It has told a backend's failure in its own words, or that a filter stopped the answer.
            found.status = wrong:find('"invalid_request_error"', 1, true) and 400 or 502
            return "wrong", found
        elseif found.status == 500 then
            return "erred", failed(name)
        end
        return "wrong", found
    end
    return "lost", lost(name)
end

-- Have the first backend answer that can, step by step of what `routes.plan` says; returns nil, or the refusal when none could.
function M.answer(request, steps)
    local ctx = request.ctx
    local told
    for _, step in ipairs(steps) do
        local name = step.model or request.asked
        ctx.tried, ctx.backends = {}, step.backends
        local reached, erred = 0, nil
        while reached < 2 do
            local chosen = balance.choose(step.backends, ctx.tried)
            if not chosen then
                break
            end
            ctx.tried[chosen.id] = true
            ctx.backend = chosen.id
            local verdict, found, others
            if enter(ctx, chosen) then
                verdict, found = try(request, chosen, name, step.gateway)
                others = M.leave(ctx) > 0
            else
                verdict, found = "full", full(name)
            end
            if verdict == "answered" then
                if erred then
                    balance.failed(erred)
                end
                return nil
            elseif verdict == "wrong" then
                return found
            end
            -- Of a gateway less is known than what an engine's failure has told already.
            told = step.gateway and (told or unavailable()) or found
            if verdict ~= "unreached" then
                reached = reached + 1
            end
            if verdict == "unreached" then
                -- Of who is looked after; nobody would say of another that it is there again.
                if ctx.routes.backends[chosen.id] then
                    balance.set(chosen.id, "gone")
                end
            elseif verdict == "erred" then
                -- A backend that another one shows to be at fault is left alone for a while; a request that is at fault
                -- itself takes none away from others.
                erred = chosen.id
                told = request.structured and unworkable() or found
            elseif verdict ~= "full" and verdict ~= "left" then
                balance.failed(chosen.id)
            end
            if verdict == "lost" then
                -- A request that takes its backend down is not to take the next one as well.
                if balance.lost(chosen.id, others, connection()) then
                    balance.suspect(files.sha256(request.raw))
                    return told
                end
            end
        end
    end
    return told or lost(request.asked)
end

return M

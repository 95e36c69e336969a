-- Which model a team asks for, and what may answer: the contents of routes.json.

local errors = require "slipway.errors"
local paths = require "slipway.paths"

local M = {}

-- The backends none of whose machines is missing.
local function there(backends, missing)
    local found = {}
    for _, backend in ipairs(backends) do
        local away = false
        for _, machine in ipairs(backend.machines or {}) do
            away = away or missing[machine] ~= nil
        end
        if not away then
            found[#found + 1] = backend
        end
    end
    return found
end

-- Check routes.json and index it. Form: see slipway/fronts/nginx/routes.py.
function M.take(data)
    local routes = {
        models = data.models, aliases = data.aliases, through = data.through, fast_path = data.fast_path,
        timeout_s = data.timeout_s, extra_fields = data.extra_fields or {}, allowed_origins = {}, backends = {},
    }
    assert(type(data.models) == "table" and type(data.aliases) == "table", "models or aliases are missing")
    assert(type(data.through) == "table" and type(data.through.open) == "table" and #data.through.open > 0,
        "there is no gateway")
    assert(type(data.timeout_s) == "number", "timeout_s is no number")
    for _, origin in ipairs(data.allowed_origins or {}) do
        routes.allowed_origins[origin] = true
    end
    local missing = {}
    for _, machine in ipairs(data.missing or {}) do
        missing[machine] = true
    end
    for name, model in pairs(data.models) do
        model.name = name
        model.backends = there(model.backends, missing)
        if model.price then
            assert(type(model.price.input) == "number" and type(model.price.output) == "number"
                and type(data.currency) == "string", "the price of " .. name .. " has no input, output or currency")
            model.price.currency = data.currency
        end
        assert(paths.known(model.task), "the task of " .. name .. " is not known")
        -- A provider or a fall-back may take what no engine of its own does.
        local elsewhere = model.provided or #model.fallbacks > 0 or #model.backends == 0
        model.places = elsewhere and math.huge or 0
        for _, backend in ipairs(model.backends) do
            assert(backend.id and backend.address and backend.port and backend.model, "a backend of " .. name
                .. " has no id, address, port or model")
            assert(type(backend.weight) == "number", "a backend of " .. name .. " has no weight")
            local progress = backend.progress
            assert(progress == nil or (progress.path and progress.counter), "the progress of a backend of " .. name
                .. " has no path or counter")
            assert(backend.most == nil or type(backend.most) == "number", "the most of a backend of " .. name .. " is no number")
            assert(backend.places == nil or type(backend.places) == "number", "the places of a backend of " .. name
                .. " are no number")
            model.places = math.max(model.places, backend.places or math.huge)
            -- An engine may be a backend of several names.
            backend.place = backend.most and "engine|" .. backend.address .. ":" .. backend.port
            backend.name = name
            backend.families = {}
            for _, family in ipairs(backend.native) do
                backend.families[family] = true
            end
            routes.backends[backend.id] = backend
        end
        for _, other in ipairs(model.fallbacks) do
            assert(data.models[other], "a fall-back of " .. name .. " does not exist")
        end
    end
    for _, gateways in pairs(data.through) do
        for _, gateway in ipairs(gateways) do
            assert(gateway.id and gateway.address and gateway.port and gateway.health,
                "a gateway has no id, address, port or health")
            gateway.weight, gateway.group, gateway.gateway = 1, "gateway", true
            -- One alone is asked however it is, so that nobody needs to look after it.
            if #gateways > 1 then
                routes.backends[gateway.id] = gateway
            end
        end
    end
    for alias, name in pairs(data.aliases) do
        assert(data.models[name], "the alias " .. alias .. " is of no model")
    end
    return routes
end

local function may_use(team, ...)
    if not team.allowed then
        return true
    end
    for _, name in ipairs({...}) do
        if team.allowed[name] then
            return true
        end
    end
    return false
end

-- Whether something answers for the model that the requests of the team may go to.
local function stays(routes, team, model)
    if not team.private or #model.backends > 0 then
        return true
    end
    for _, name in ipairs(model.fallbacks) do
        if #routes.models[name].backends > 0 then
            return true
        end
    end
    return false
end

-- The model that a team asks for by its name or an alias, or nil and a refusal.
function M.resolve(routes, team, asked)
    local model = routes.models[routes.aliases[asked] or asked]
    if not model then
        return nil, errors.refusal(404, "model_not_found",
            "The model '" .. asked .. "' does not exist. GET /v1/models lists those that do.", {param = "model"})
    end
    if not may_use(team, asked, model.name) then
        return nil, errors.refusal(403, "model_not_allowed",
            "The team " .. team.name .. " may not use the model '" .. asked .. "'.", {param = "model"})
    end
    if not stays(routes, team, model) then
        return nil, errors.refusal(403, "model_not_allowed", "The model '" .. asked
            .. "' is served by a provider, and requests of this team do not leave for one.", {param = "model"})
    end
    return model
end

-- The models that a team may use, by names and aliases, as OpenAI's and Anthropic's clients read them.
function M.listed(routes, team)
    local found = {}
    local function add(asked, name)
        local model = routes.models[name]
        if may_use(team, asked, name) and stays(routes, team, model) then
            found[#found + 1] = {
                id = asked, object = "model", created = 0, owned_by = "slipway", root = name, task = model.task,
                context_window = model.context_window, max_model_len = model.context_window,
                max_output_tokens = model.max_output_tokens,
                type = "model", display_name = asked, created_at = "1970-01-01T00:00:00Z",
            }
        end
    end
    for name in pairs(routes.models) do
        add(name, name)
    end
    for alias, name in pairs(routes.aliases) do
        add(alias, name)
    end
    table.sort(found, function(a, b) return a.id < b.id end)
    return found
end

-- The gateways that a team's requests may pass, as a step of `M.plan`; nil where there is none.
function M.through(routes, team)
    local gateways = routes.through.open
    if team.private then
        gateways = routes.through.private
    end
    return gateways and {backends = gateways, gateway = true}
end

-- What is to be asked for an answer, in order: {{backends = {…}, model = NAME}, …, {backends = {…}, gateway = true}}, or
-- nil and a refusal. The gateways come last: they know the providers, and try by themselves what comes after.
function M.plan(routes, team, model, family, path)
    if not paths.serves(model.task, family) then
        return nil, errors.refusal(404, "unsupported_path", "The model '" .. model.name .. "' does not serve " .. path .. ".",
            {param = "model"})
    end
    local steps = {}
    local function through()
        local step = M.through(routes, team)
        steps[#steps + 1] = step
        return step
    end
    local names = {model.name}
    if family ~= "tokenize" then
        for _, name in ipairs(model.fallbacks) do
            names[#names + 1] = name
        end
    end
    for _, name in ipairs(names) do
        local one = routes.models[name]
        local able = {}
        for _, backend in ipairs(one.backends) do
            if backend.families[family] then
                able[#able + 1] = backend
            end
        end
        local direct = routes.fast_path and not team.filtered and not one.provided and #able > 0
        if not direct then
            if not through() then
                if #steps > 0 then
                    break
                end
                return nil, errors.refusal(503, "no_private_backend", "No backend of '" .. model.name
                    .. "' that keeps requests here can be asked. Try again later.")
            end
            break
        end
        steps[#steps + 1] = {backends = able, model = name}
    end
    return steps
end

return M

-- Starts a worker.

local cells = require "slipway.cells"
local cjson = require "cjson"
local content = require "slipway.content"
local counters = require "slipway.counters"
local files = require "slipway.files"
local gauges = require "slipway.gauges"
local health = require "slipway.health"
local incoming = require "slipway.incoming"
local journal = require "slipway.journal"
local keys = require "slipway.keys"
local quota = require "slipway.quota"
local routes = require "slipway.routes"
local usage = require "slipway.usage"

local M = {}

local REFRESH_S = 0.5
local FORGET_S = 600

cjson.decode_max_depth(200)

local function take_teams(data)
    assert(type(data.teams) == "table", "there are no teams")
    for _, team in ipairs(data.teams) do
        assert(type(team.name) == "string", "a team has no name")
        -- Whether a team is private is never guessed.
        assert(type(team.private) == "boolean", "private of team " .. team.name .. " is neither true nor false")
        assert(team.log_content == nil or type(team.log_content) == "boolean",
            "log_content of team " .. team.name .. " is neither true nor false")
        for _, limit in ipairs({"requests_per_minute", "tokens_per_minute", "parallel_requests", "tokens_per_month"}) do
            assert(team[limit] == nil or type(team[limit]) == "number", limit .. " of team " .. team.name .. " is no number")
        end
        local money = team.money_per_month
        assert(money == nil or type(money) == "table" and type(money.amount) == "number" and type(money.currency) == "string",
            "money_per_month of team " .. team.name .. " has no amount or no currency")
        if team.models then
            team.allowed = {}
            for _, name in ipairs(team.models) do
                team.allowed[name] = true
            end
        end
    end
    return {index = keys.index(data.teams), teams = data.teams}
end

-- What was used before a restart counts on. The marker outlives a reload, and not a restart.
local function recall()
    local dict = ngx.shared.slipway_limits
    if dict:add("recalled", true) then
        local now = ngx.now()
        usage.recall(now, function(record, time)
            if record.counted and type(record.team) == "string" then
                quota.restore(record, time, now)
            end
        end)
    end
end

-- config: {folder (of teams.json and routes.json), usage (the folder of its records), usage_days (how long they are kept),
-- content (the folder of what was said), content_days (how long that is kept; 0 where nothing is), body_timeout (seconds for
-- which a body may be silent), wrong_keys (that an address may send in a minute), counters (whether counts are shared with
-- other fronts: then counters.json is in the folder, too)}.
function M.configure(config)
    cells.configure()
    usage.configure(config.usage, config.usage_days)
    content.configure(config.content, config.content_days)
    incoming.configure(config.body_timeout)
    keys.configure(config.wrong_keys)
    files.watch("teams", config.folder .. "/teams.json", take_teams)
    files.watch("routes", config.folder .. "/routes.json", routes.take)
    if config.counters then
        counters.configure(config.folder .. "/counters.json")
    end
end

function M.worker()
    math.randomseed(ngx.worker.pid() * 1000003 + math.floor(ngx.now() * 1000))
    gauges.register()
    recall()
    files.refresh()
    ngx.timer.every(REFRESH_S, function(premature)
        journal.write()
        usage.flush(premature)
        if not premature then
            local ok, fault = pcall(files.refresh)
            if not ok then
                ngx.log(ngx.ERR, "files cannot be read again: ", fault)
            end
        end
    end)
    ngx.timer.every(health.EVERY_S, health.tick)
    if ngx.worker.id() == 0 then
        content.forget(ngx.now(), true)
        ngx.timer.every(FORGET_S, function(premature)
            if not premature then
                content.forget(ngx.now())
            end
        end)
    end
    quota.watch()
end

return M

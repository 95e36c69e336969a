-- What the counters are told beside requests' admission: what became of those, which still run, what was admitted while they
-- were away. And what they tell: what all fronts have used.
--
-- It is told in the background, in the order in which it happened, so that no request waits for it.

local counters = require "slipway.counters"
local files = require "slipway.files"
local journal = require "slipway.journal"
local limits = require "slipway.limits"
local shares = require "slipway.shares"

local M = {}

local dict = ngx.shared.slipway_limits
local LOOK_S, FOLLOW_S = 0.1, 0.4
local RENEW_S = 5
local BATCH = 100
local WORDS = 1500
local FORGOTTEN_AFTER_S = 180

-- Of this worker: what the counters are to be told, the requests of teams with a limit to those at once.
local queue, flushing = {}, false
local running = {}
local renewed = 0

local flush

-- Have the counters told: a script of theirs, with its arguments.
local function tell(name, ...)
    queue[#queue + 1] = {name, told = ngx.now(), ...}
    if not flushing and not counters.mute() then
        flushing = true
        local ok, fault = ngx.timer.at(0, flush)
        if not ok then
            flushing = false
            journal.say(ngx.ERR, "the counters cannot be told: ", tostring(fault))
        end
    end
end

-- Forget what is of a minute that is long over; the month's tokens are told anyway, see `follow`.
local function prune(now)
    local kept = {}
    for _, one in ipairs(queue) do
        if now - one.told < FORGOTTEN_AFTER_S then
            kept[#kept + 1] = one
        elseif one[1] == "count" then
            counters.owes(-1)
        end
    end
    queue = kept
end

-- Ask in the background whether the counters are there, and what all fronts have used.
local function follow()
    local settings, teams = counters.settings(), files.content("teams")
    if not settings or not teams then
        return
    end
    local now = ngx.now()
    local asked, command = {}, {"follow", limits.month(now), settings.front}
    for _, team in ipairs(teams.teams) do
        if shares.limited(team) then
            asked[#asked + 1] = team
            for _, word in ipairs({team.name, shares.number(team.tokens_per_minute), shares.spent(team, now)}) do
                command[#command + 1] = word
            end
        end
    end
    local answers, fault = counters.run({command}, true)
    if not answers then
        counters.lost(fault)
        return
    end
    local told = answers[1]
    -- The clocks may be at two sides of a minute's end for a moment.
    if told[1] == limits.minute(now) then
        for at, team in ipairs(asked) do
            shares.mirror(team.name, now, {
                requests = told[4 * at - 2], tokens = told[4 * at - 1], tokens_per_month = told[4 * at],
                money_per_month = told[4 * at + 1], currency = team.money_per_month and team.money_per_month.currency,
            })
        end
    end
    counters.answers()
end

local function lost(fault)
    if counters.lost(fault) then
        -- It may have been a moment's matter: see soon.
        dict:delete("counters|turn")
    end
end

local function tell_all()
    while #queue > 0 and not counters.mute() do
        local batch, rest = {}, {}
        for at, one in ipairs(queue) do
            table.insert(at <= BATCH and batch or rest, one)
        end
        queue = rest
        local answers, fault, begun = counters.run(batch, true)
        if not answers then
            local again = {}
            for _, one in ipairs(batch) do
                -- Where it may have been told already, nothing is given back a second time.
                if not begun or one[1] == "count" then
                    again[#again + 1] = one
                end
            end
            for _, one in ipairs(queue) do
                again[#again + 1] = one
            end
            queue = again
            lost(fault)
        else
            for _, one in ipairs(batch) do
                if one[1] == "count" then
                    counters.owes(-1)
                end
            end
        end
    end
end

-- Tell the counters what is in the queue.
function flush()
    flushing = true
    local ok, fault = pcall(tell_all)
    flushing = false
    if not ok then
        journal.say(ngx.ERR, "the counters cannot be told: ", tostring(fault))
    end
end

-- Say which requests still run, in time.
local function renew()
    for team, ids in pairs(running) do
        local command = {"renew", team}
        for id, held in pairs(ids) do
            local last = #command
            command[last + 1] = id
            command[last + 2], command[last + 3] = shares.asides(held)
            if #command >= WORDS then
                tell(unpack(command))
                command = {"renew", team}
            end
        end
        if #command > 2 then
            tell(unpack(command))
        end
    end
end

-- A request runs, for which its team has to have a place, or something set aside.
function M.runs(held)
    if held.team.parallel_requests or held.team.tokens_per_month or held.team.money_per_month then
        local name = held.team.name
        running[name] = running[name] or {}
        running[name][held.id] = held
    end
end

-- It is over.
function M.over(held)
    local ids = running[held.team.name]
    if ids and held.id then
        ids[held.id] = nil
        if not next(ids) then
            running[held.team.name] = nil
        end
    end
end

local function tend(premature)
    local now = ngx.now()
    if now - renewed > RENEW_S then
        renewed = now
        prune(now)
        renew()
    end
    if not flushing then
        flush()
    end
    -- One worker does it for all.
    if dict:add("counters|turn", true, FOLLOW_S) then
        follow()
    end
    -- A worker that is on its way out has to speak for its requests until they are over.
    if premature and (next(running) or #queue > 0) and not counters.mute() then
        ngx.sleep(LOOK_S)
        return tend(premature)
    end
end

-- Keep in touch with the counters, from each worker.
function M.watch()
    if counters.there() then
        local looking = false
        local function look(premature)
            if looking and not premature then
                return
            end
            looking = true
            local ok, fault = pcall(tend, premature)
            looking = false
            if not ok then
                journal.say(ngx.ERR, "the counters cannot be followed: ", tostring(fault))
            end
        end
        ngx.timer.at(0, look)
        ngx.timer.every(LOOK_S, look)
    end
end

M.tell, M.lost = tell, lost

return M

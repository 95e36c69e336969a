-- The counters that several fronts share: a server of Valkey or Redis, asked through Debian's client (lua-nginx-redis).
--
-- It answers soon or not at all: a request waits for it for TIMEOUT_MS. From the first time that it fails, it is asked in the
-- background until it answers again (see `quota.lua`).

local files = require "slipway.files"
local journal = require "slipway.journal"
local scripts = require "slipway.scripts"

local M = {}

local dict = ngx.shared.slipway_limits
local TIMEOUT_MS, PATIENT_MS = 250, 500
local IDLE_MS = 60000
local POOL = 32
local MOMENT_S, OTHERS_S, LONGEST_S = 1, 1.2, 5
local AWAY, ANSWERS, OWED = "counters|away", "counters|answers", "counters|owed"

local redis
local digests = {}

local function hex(raw)
    return (raw:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

local function take(data)
    assert(type(data.address) == "string" and type(data.port) == "number", "it has no address or port")
    assert(type(data.password) == "string", "it has no password")
    assert(type(data.front) == "string", "it does not name this front")
    assert(type(data.fronts) == "number" and data.fronts >= 1, "it does not say how many fronts there are")
    return data
end

-- Use the counters that the file (see `take`) names. Without a call, there are none.
function M.configure(path)
    redis = require "nginx.redis"
    files.watch("counters", path, take)
end

-- Whether there are any.
function M.there()
    return redis ~= nil
end

-- {address, port, password, front, fronts}, or nil as long as there was no file that could be used.
function M.settings()
    return files.content("counters")
end

-- Whether requests are to go by this front's share, because the server did not answer.
function M.away()
    return dict:get(AWAY) ~= nil
end

-- Whether it is away, and was not a moment ago.
function M.briefly_away()
    local since = dict:get(AWAY)
    return since and ngx.now() - since < MOMENT_S
end

-- Whether it was away and answers again, while fronts may still go by their shares.
function M.returning()
    return M.away() and dict:get(ANSWERS) ~= nil
end

-- Whether the server did not answer when it was last asked.
function M.mute()
    return M.away() and not dict:get(ANSWERS)
end

-- It did not answer; says whether that is news.
function M.lost(fault)
    local news = dict:add(AWAY, ngx.now())
    dict:delete(ANSWERS)
    if news then
        journal.say(ngx.WARN, "the counters are away, this front goes on with its share of each limit: ", tostring(fault))
    end
    return news
end

-- Say how many requests more or less this front has admitted by itself that the counters do not know of.
function M.owes(number)
    dict:incr(OWED, number, 0)
end

-- It answers. This front keeps within its share until it has told what it admitted; after more than a moment, so long that the
-- other fronts do so too.
function M.answers()
    local since = dict:get(AWAY)
    if not since then
        return
    end
    local now = ngx.now()
    dict:add(ANSWERS, now)
    local answers_s = now - dict:get(ANSWERS)
    local told = (dict:get(OWED) or 0) <= 0 and (now - since < MOMENT_S or answers_s > OTHERS_S)
    -- A worker that was killed tells nothing any more.
    if told or answers_s > LONGEST_S then
        dict:delete(OWED)
        dict:delete(AWAY)
        dict:delete(ANSWERS)
        journal.say(ngx.WARN, "the counters are back")
    end
end

local function connected(timeout_ms)
    local settings = M.settings()
    if not settings then
        return nil, "counters.json cannot be used"
    end
    local client = redis:new()
    client:set_timeout(timeout_ms)
    local ok, fault = client:connect(settings.address, settings.port,
        {pool = settings.address .. "|" .. settings.port .. "|" .. files.sha256(settings.password), pool_size = POOL})
    if not ok then
        return nil, fault
    end
    if client:get_reused_times() == 0 then
        ok, fault = client:auth(settings.password)
        for name, text in pairs(ok and scripts or {}) do
            digests[name] = digests[name] or hex(ngx.sha1_bin(text))
            ok, fault = client:script("load", text)
            if not ok then
                break
            end
        end
        if not ok then
            client:close()
            return nil, fault
        end
    end
    return client
end

-- Run scripts, one after the other, in one go. commands: {{name of the script, argument, …}, …}. patiently: where there is time.
-- Returns their answers; or nil, the fault, and whether some of them may have been run.
function M.run(commands, patiently)
    local client, fault = connected(patiently and PATIENT_MS or TIMEOUT_MS)
    if not client then
        return nil, fault, false
    end
    client:init_pipeline(#commands)
    for _, command in ipairs(commands) do
        client:evalsha(digests[command[1]], 0, unpack(command, 2))
    end
    local answers
    answers, fault = client:commit_pipeline()
    for _, answer in ipairs(answers or {}) do
        if type(answer) == "table" and answer[1] == false then
            answers, fault = nil, answer[2]
            break
        end
    end
    if not answers then
        client:close()
        return nil, fault, true
    end
    client:set_keepalive(IDLE_MS, POOL)
    return answers
end

return M

-- Takes in a request's body: into memory, and within bounds of time.
--
-- nginx waits for the next piece of a body and never for the whole, so a byte now and then would hold a place forever; and it
-- closes the connection of who is late without a word. Here the wait is watched, and ends with an answer.

local errors = require "slipway.errors"

local M = {}

local LOOK_S = 0.5
-- After a while that is given to all, a body has to come at least this fast.
local BYTES_PER_S = 4096
local SILENCE_S
local CONDITIONS = {"if-match", "if-none-match", "if-modified-since", "if-unmodified-since"}

function M.configure(silence_s)
    SILENCE_S = silence_s
end

-- A thread runs functions of Lua alone.
local function read(state)
    ngx.req.read_body()
    state.over = true
end

-- Ends when too little has come.
local function watch()
    local began, arrived = ngx.now(), 0
    local heard = began
    while true do
        ngx.sleep(LOOK_S)
        local now, length = ngx.now(), tonumber(ngx.var.request_length)
        if length > arrived then
            arrived, heard = length, now
        end
        if now - heard >= SILENCE_S or arrived < (now - began - SILENCE_S) * BYTES_PER_S then
            return
        end
    end
end

-- The larger ones are in a file, whose file system is in memory.
local function stored()
    local raw = ngx.req.get_body_data()
    if raw then
        return raw
    end
    local path = ngx.req.get_body_file()
    if not path then
        return ""
    end
    local file = assert(io.open(path, "rb"))
    raw = file:read("*a")
    file:close()
    return raw
end

-- The body, or nil and a refusal.
function M.body()
    local state = {}
    local reader = ngx.thread.spawn(read, state)
    if not state.over then
        local watcher = ngx.thread.spawn(watch)
        ngx.thread.wait(reader, watcher)
        if not state.over then
            ngx.thread.kill(reader)
            return nil, errors.refusal(408, "request_timeout", "The request did not arrive in time.")
        end
        ngx.thread.kill(watcher)
    end
    return stored()
end

-- Forget the conditions of a request: nginx would judge them by itself, and answer in the place of the answer.
function M.unconditional(headers)
    for _, name in ipairs(CONDITIONS) do
        if headers[name] then
            ngx.req.clear_header(name)
        end
    end
end

return M

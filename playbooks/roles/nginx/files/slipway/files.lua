-- Files that are read again while the front runs: teams.json and routes.json.
--
-- Each worker looks once a second whether a file has other content. A file that is no good is refused as a whole; the one
-- before stays in use, and the state says so.

local cjson = require "cjson"

local M = {}

local watched = {}

local function read(path)
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    return text
end

local function hex(raw)
    return (raw:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

local ffi = require "ffi"
ffi.cdef "unsigned char *SHA256(const unsigned char *data, size_t length, unsigned char *out);"
local digest = ffi.new("unsigned char[32]")

function M.sha256(text)
    ffi.C.SHA256(text, #text, digest)
    return hex(ffi.string(digest, 32))
end

-- Null becomes nil everywhere: the code asks whether there is a value.
local function plain(value)
    if value == cjson.null then
        return nil
    elseif type(value) == "table" then
        for name, inner in pairs(value) do
            value[name] = plain(inner)
        end
    end
    return value
end

-- Watch a file. take(data) makes of its decoded content what the front works with, or raises an error.
function M.watch(name, path, take)
    watched[name] = {path = path, take = take, raw = nil, content = nil, digest = nil, refused = nil}
end

-- Look whether a file has changed, and take it up.
function M.refresh()
    for name, one in pairs(watched) do
        local raw = read(one.path)
        if raw ~= one.raw then
            one.raw = raw
            local ok, result = pcall(function()
                if not raw then
                    error("it cannot be read")
                end
                return one.take(plain(cjson.decode(raw)))
            end)
            if ok then
                one.content, one.digest, one.refused = result, M.sha256(raw), nil
                ngx.log(ngx.NOTICE, name, ".json is in use, SHA-256 ", one.digest)
            else
                one.refused = tostring(result):gsub("^.-:%d+: ", "")
                ngx.log(ngx.ERR, name, ".json is refused: ", one.refused)
            end
        end
    end
end

-- What a file says, or nil as long as there was none that could be used.
function M.content(name)
    return watched[name].content
end

-- {name = {digest, refused}}.
function M.state()
    local found = {}
    for name, one in pairs(watched) do
        found[name] = {digest = one.digest, refused = one.refused}
    end
    return found
end

return M

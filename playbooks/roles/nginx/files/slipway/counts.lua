-- Counting in a shared dictionary, at the price of one call: `dict:incr` looks for the dictionary anew each time and checks what is
-- always right here. It asks what `dict:incr` asks, by the declaration of the same library (lua-resty-core, which refuses to load
-- with another release of nginx' module than its own).

local base = require "resty.core.base"
local ffi = require "ffi"
require "resty.core.shdict"

local M = {}

local C = ffi.C
local incr = C.ngx_http_lua_ffi_shdict_incr
local value, fault, forced = ffi.new("double[1]"), base.get_errmsg_ptr(), ffi.new("int[1]")

-- A function that counts in a dictionary: count(key, by, seconds, there) returns how many there are now. A count that is not there
-- begins with 0 and is kept for so many seconds, or always; where it has to be there, it does not. Where nothing was counted it
-- returns nil and why, as `dict:incr` does.
function M.of(dict)
    local zone = C.ngx_http_lua_ffi_shdict_udata_to_zone(dict[1])
    return function(key, by, seconds, there)
        value[0] = by
        if incr(zone, key, #key, value, fault, there and 0 or 1, 0, (seconds or 0) * 1000, forced) ~= 0 then
            return nil, ffi.string(fault[0])
        end
        return value[0]
    end
end

return M

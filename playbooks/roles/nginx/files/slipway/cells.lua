-- Numbers in memory that all workers see, each of which one process alone writes at a time: no lock, and no call.
--
-- A number that several count at once belongs into a shared dictionary, which locks. The memory is the master's: it is set aside
-- before the first workers begin, and a reload finds it again, by its address in the dictionary.

local ffi = require "ffi"

ffi.cdef "void *mmap(void *address, size_t length, int protection, int flags, int file, long offset);"

local M = {}

local dict = ngx.shared.slipway_gauges
-- As Linux has them, on all machines that the front runs on.
local READ_WRITE, SHARED_ANONYMOUS = 3, 0x21
-- Only what is used of it takes memory.
local MOST, BYTES = 1048576, 8
local ADDRESS, LAST, FREE = "cells|address", "cells|last", "cells|free"
local cells

-- A cell that all may write: until when some requests are suspected (`balance.lua`). Whose word stays does not matter, since the
-- later ones say the same but for moments.
M.SUSPECTED_UNTIL = 0

-- For init_by_lua, which runs in the master.
function M.configure()
    local address = dict:get(ADDRESS)
    if not address then
        local memory = ffi.C.mmap(nil, MOST * BYTES, READ_WRITE, SHARED_ANONYMOUS, -1, 0)
        address = tonumber(ffi.cast("intptr_t", memory))
        assert(address ~= -1, "there is no memory for what workers share")
        dict:set(ADDRESS, address)
    end
    cells = ffi.cast("double *", ffi.cast("intptr_t", address))
    M.values = cells
end

-- The number of a cell that is nobody's, and 0; nil where there is none left.
function M.take()
    local number = dict:lpop(FREE)
    if not number then
        number = dict:incr(LAST, 1, 0)
        if number >= MOST then
            dict:incr(LAST, -1)
            return nil
        end
    end
    cells[number] = 0
    return number
end

-- A cell is nobody's any more.
function M.give(number)
    dict:lpush(FREE, number)
end

return M

-- What the front has to say of itself.
--
-- To a line that is written while a request runs nginx adds the first line of that request, its host and its referrer: prompts
-- and keys may be among them. So lines wait until a timer, which has no request, writes them.

local M = {}

local MOST = 100
local waiting, left_out = {}, 0

-- Have a line written soon. The parts of the text must be strings, and hold nothing of a request.
function M.say(level, ...)
    if #waiting < MOST then
        waiting[#waiting + 1] = {level, table.concat({...})}
    else
        left_out = left_out + 1
    end
end

-- Write what waits; for a timer.
function M.write()
    local lines, more = waiting, left_out
    waiting, left_out = {}, 0
    for _, line in ipairs(lines) do
        ngx.log(line[1], line[2])
    end
    if more > 0 then
        ngx.log(ngx.WARN, more, " more lines were left out")
    end
end

return M

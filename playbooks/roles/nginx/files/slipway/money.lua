-- What tokens cost.
--
-- An amount is a whole number of billionths of the currency: exact in Lua's numbers up to nine million of it. A price is of one
-- token, in 10^-12 of the currency; that is the price of a million tokens in millionths.

local M = {}

local PICO_PER_NANO = 1000
local NANO = 1000000000

-- The price of a model, by its name or an alias: {input, output, currency}, or nil where it has none.
function M.price(routes, name)
    local model = routes.models[routes.aliases[name] or name]
    return model and model.price
end

-- The amount for so many tokens, rounded to the nearest.
function M.cost(price, tokens_in, tokens_out)
    local pico = tokens_in * price.input + tokens_out * price.output
    return math.floor((pico + PICO_PER_NANO / 2) / PICO_PER_NANO)
end

-- An amount as a number of the currency's units.
function M.units(amount)
    return amount / NANO
end

return M

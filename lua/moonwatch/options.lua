-- Reads what a function of the library was given as its table: what is wrong there is an error at the
-- line of the script that called it.
--
--   local o = options("mw.window", given, { span = { "span" }, max = { "count", 10000 } })
--
-- Each option has a sort and a default; one without a default must be given, unless it is `optional` or a
-- function.
local mw = require "moonwatch"
local meant = require "moonwatch.meant"
local type, pairs, error, pcall, tostring = type, pairs, error, pcall, tostring
local floor, sort, concat = math.floor, table.sort, table.concat

local sorts = {}

function sorts.span(value)
  local ok, seconds = pcall(mw.seconds, value)
  return ok and seconds > 0 and seconds < 1e10 and seconds or nil, "a span of time: '90s', '5m', '1h', or seconds"
end

function sorts.count(value)
  local fits = type(value) == "number" and value >= 1 and value <= 1e7 and floor(value) == value
  return fits and value or nil, "a whole number from 1 to 10,000,000"
end

function sorts.limit(value)
  local fits = type(value) == "number" and value >= 0 and value <= 1e7 and floor(value) == value
  return fits and value or nil, "a whole number from 0 to 10,000,000"
end

sorts["function"] = function(value)
  return type(value) == "function" and value or nil, "a function"
end

function sorts.text(value)
  return type(value) == "string" and value ~= "" and value or nil, "a string"
end

function sorts.size(value)
  local fits = (type(value) == "number" and value >= 0) or type(value) == "string" and value:find "^%d+%.?%d*[kKmMgG]?$"
  return fits and value or nil, "a number of bytes, or one with k, M or G behind it, such as '10M'"
end

function sorts.boolean(value)
  return value == true, "true or false"
end

function sorts.table(value)
  return type(value) == "table" and value or nil, "a table"
end

function sorts.functions(value)
  local fits = type(value) == "table" and #value > 0
  for _, one in pairs(fits and value or {}) do
    fits = fits and type(one) == "function"
  end
  return fits and value or nil, "a list of functions"
end

local function names_of(known)
  local names = {}
  for name in pairs(known) do
    names[#names + 1] = name
  end
  sort(names)
  return concat(names, ", ")
end

---@param what string  the function, for messages
---@param given any
---@param known table<string, table>  name -> { sort, default }
---@return table values
return function(what, given, known)
  if type(given) ~= "table" then
    error(what .. " takes a table of options: " .. names_of(known), 3)
  end
  for name in pairs(given) do
    if known[name] == nil then
      local near = meant(name, "", known)
      error(("%s: no option is named '%s'%s"):format(what, tostring(name),
        near ~= "" and near or "; there are " .. names_of(known)), 3)
    end
  end
  local values = {}
  for name, option in pairs(known) do
    local value, kind = given[name], option[1]
    if value == nil then
      value = option[2]
      if value == nil and kind ~= "function" and not option.optional then
        error(("%s: `%s` is missing: %s"):format(what, name, select(2, sorts[kind](nil))), 3)
      end
    end
    if value ~= nil then
      local read, wanted = sorts[kind](value)
      if read == nil or (kind == "boolean" and type(value) ~= "boolean") then
        error(("%s: `%s` must be %s"):format(what, name, wanted), 3)
      end
      values[name] = read
    end
  end
  return values
end

-- Which word was meant by one that nobody knows: the nearest of those that there are.
--
-- meant("tag", "", { tags = true }) -> ": did you mean tags?"; "" when none is near.
local math, ipairs, pairs, type = math, ipairs, pairs, type

-- How many insertions, deletions, changes and swaps lie between two words; gives up beyond `most`.
local function distance(a, b, most)
  if math.abs(#a - #b) > most then
    return most + 1
  end
  local before, row = {}, {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local fresh = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      fresh[j] = math.min(row[j] + 1, fresh[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        fresh[j] = math.min(fresh[j], before[j - 2] + 1)
      end
    end
    before, row = row, fresh
  end
  return row[#b]
end

-- The word that comes nearest, of the keys of these tables; nil: none is near.
local function nearest(word, ...)
  local most = math.max(1, math.floor(#word / 3))
  local best, best_distance
  for _, set in ipairs { ... } do
    for key in pairs(set) do
      local d = type(key) == "string" and key:sub(1, 1) ~= "_" and distance(word:lower(), key:lower(), most)
      if d and d <= most and (not best or d < best_distance or (d == best_distance and key < best)) then
        best, best_distance = key, d
      end
    end
  end
  return best
end

---@param word any
---@param prefix string  put before the word that was meant
---@param ... table<string, any>  the words that there are are their keys
---@return string
return function(word, prefix, ...)
  local near = type(word) == "string" and #word > 2 and #word <= 64 and nearest(word, ...)
  return near and (": did you mean %s%s?"):format(prefix, near) or ""
end

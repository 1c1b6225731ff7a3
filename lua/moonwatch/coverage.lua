-- What of a script could run: its lines, its functions, and the ways that lead away from a line with a condition.
--
-- coverage(text, name) -> { lines = { 3, 4, ... }, functions = { { line, name }, ... }, ways = { { line, to }, ... } },
-- all sorted; nil when it does not compile. `to` 0: the function returns. Read from the bytecode, nothing runs.
-- src/host/coverage.c has what ran, by lines, so that only is a way which lines tell apart: of `a and b` on one line
-- nobody can say which of them was false.
--
-- Needs `jit`, and so a state of its own.
local util = require "jit.util"
local bit = require "bit"

-- The opcode of instruction `pc`, where it jumps to when that is its kind, and its line.
local function read(f, pc)
  local ins, mode = util.funcbc(f, pc)
  local jump = bit.band(mode, 15 * 128) == 13 * 128 and pc + bit.rshift(ins, 16) - 0x7fff or nil
  return bit.band(ins, 0xff), jump, util.funcinfo(f, pc).currentline
end

-- Opcodes differ from version to version of LuaJIT: they are taken from texts of which the code is known.
local function opcode(text, from_end)
  local f = load(text)
  return (read(f, util.funcinfo(f).bytecodes - from_end))
end

local RET0 = opcode("return", 1)
local RETURNS = { [RET0 - 2] = true, [RET0 - 1] = true, [RET0] = true, [RET0 + 1] = true } -- RETM RET RET0 RET1
local CALLT = opcode("local f return f()", 1)
local TAIL_CALLS = { [CALLT - 1] = true, [CALLT] = true } -- CALLMT CALLT
local IS_FALSE = opcode("local a if a then a() end", 5) -- the last of the comparisons, which are the first opcodes
local JUMP = opcode("local a if a then a() end", 4)
local LOOP = opcode("while true do end", 3)

-- Where control goes on after `pc`: a list of instructions, empty where the function ends. A comparison and the jump
-- after it are one.
local function after(f, pc)
  local op, jump = read(f, pc)
  if op <= IS_FALSE then
    local _, target = read(f, pc + 1)
    return { pc + 2, target }
  elseif RETURNS[op] or TAIL_CALLS[op] then
    return {}
  elseif op == JUMP then
    return { jump }
  elseif jump and op ~= LOOP then -- the others with a jump are those of `for`
    return { pc + 1, jump }
  end
  return { pc + 1 }
end

-- { [pc] = true } of all that can be reached.
local function reachable(f)
  local seen, left = { [1] = true }, { 1 }
  while #left > 0 do
    for _, pc in ipairs(after(f, table.remove(left))) do
      if not seen[pc] then
        seen[pc] = true
        left[#left + 1] = pc
      end
    end
  end
  return seen
end

-- Adds to `ways` the lines that control can get to from `pc` without another line in between.
local function add_ways(f, pc, line, ways, seen)
  local op, _, here = read(f, pc)
  if here ~= line then
    ways[here] = true
  elseif RETURNS[op] then
    ways[0] = true
  elseif not seen[pc] then
    seen[pc] = true
    for _, next_pc in ipairs(after(f, pc)) do
      add_ways(f, next_pc, line, ways, seen)
    end
  end
end

local function add_function(f, found)
  local by_line = {}
  for pc in pairs(reachable(f)) do
    local op, _, line = read(f, pc)
    found.lines[line] = true
    if op <= IS_FALSE then
      by_line[line] = by_line[line] or { ways = {}, seen = {} }
      for _, next_pc in ipairs(after(f, pc)) do
        add_ways(f, next_pc, line, by_line[line].ways, by_line[line].seen)
      end
    end
  end
  for line, one in pairs(by_line) do
    found.ways[line] = found.ways[line] or {}
    for to in pairs(one.ways) do
      found.ways[line][to] = true
    end
  end
end

-- The name under which it is defined, as far as its line shows one.
local function name_of(text_line, line)
  return text_line:match "function%s+([%w_.:]+)%s*%(" or text_line:match "([%w_.]+)%s*=%s*function%s*%("
    or text_line:match "([%w_.]+)%s*=[^=].*function%s*%(" or "line " .. line
end

local function add_all(f, found, source)
  add_function(f, found)
  local info = util.funcinfo(f)
  if info.linedefined > 0 then
    local line = info.linedefined
    found.functions[line] = found.functions[line] or name_of(source[line] or "", line)
  end
  for n = -1, -math.huge, -1 do
    local constant = util.funck(f, n)
    if constant == nil then
      break
    elseif type(constant) == "proto" then
      add_all(constant, found, source)
    end
  end
end

local function sorted(set)
  local list = {}
  for key in pairs(set) do
    list[#list + 1] = key
  end
  table.sort(list)
  return list
end

---@param text string
---@param name string  as "@path"
---@return table?
return function(text, name)
  local f = load(text, name, "t")
  if not f then
    return nil
  end
  local source = {}
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    source[#source + 1] = line
  end
  local found = { lines = {}, functions = {}, ways = {} }
  add_all(f, found, source)
  local result = { lines = sorted(found.lines), functions = {}, ways = {} }
  for _, line in ipairs(sorted(found.functions)) do
    table.insert(result.functions, { line, found.functions[line] })
  end
  for _, line in ipairs(sorted(found.ways)) do
    local to = sorted(found.ways[line])
    for i = 1, #to > 1 and #to or 0 do
      table.insert(result.ways, { line, to[i] })
    end
  end
  return result
end

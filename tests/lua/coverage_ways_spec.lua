-- moonwatch.coverage: which lines of a text could run, and which ways lead away from a line, by its bytecode.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path
local coverage = require "moonwatch.coverage"

local function joined(list, between)
  local texts = {}
  for i, one in ipairs(list) do
    texts[i] = type(one) == "table" and one[1] .. between .. one[2] or tostring(one)
  end
  return table.concat(texts, " ")
end

local function parts(text)
  local found = coverage(text, "@x.lua")
  return joined(found.lines), joined(found.ways, ">"), joined(found.functions, ":")
end

local cases = {
  { "if and else", "if a then\n b()\nelseif c then\n d()\nelse\n e()\nend\nf()", "1 2 3 4 6 8", "1>2 1>3 3>4 3>6" },
  { "if alone at the end of a function", "local function f()\n if a then\n b()\n end\nend f()", "2 3 5", "2>3 2>5" },
  { "if on one line", "if a then return end\nb()", "1 2", "1>0 1>2" },
  { "a tail call ends a line unseen", "local function f()\n if a then return b() end\n c()\nend f()", "2 3 4", "" },
  { "and, or cannot be told", "local x = a and b or c\nif x and y then\n z()\nend\nw()", "1 2 3 5", "2>3 2>5" },
  -- LuaJIT puts the test of a() on the line of what follows it
  { "nor on lines of their own", "local x = a()\n and b()\n or c()\nd()", "1 2 3 4", "" },
  { "while", "while a do\n b()\nend\nc()", "1 2 4", "1>2 1>4" },
  { "repeat", "repeat\n a()\nuntil b\nc()", "1 2 3 4", "3>1 3>4" },
  { "for has none", "for i = 1, 3 do\n a()\nend\nfor k in pairs(b) do\n c()\nend", "1 2 4 5 6", "" },
  { "break", "while true do\n if a then break end\n b()\nend\nc()", "1 2 3 5", "2>3 2>5" },
  { "what is never reached is no line", "do return end\na()", "1", "" },
  { "endless", "while true do\n a()\nend\nb()", "1 2", "" },
}

describe("coverage", function()
  for _, case in ipairs(cases) do
    it(case[1], function()
      local lines, ways = parts(case[2])
      assert.same({ case[3], case[4] }, { lines, ways })
    end)
  end

  it("names functions as their lines do", function()
    local _, _, functions = parts [[
local function a() end
function b.c:d() end
local e = function() end
return { f = where { x = 1 } (function() end),
  g = function()
    return function() end
  end,
  [1] = function() end,
}, a == b and function() end]]
    assert.same("1:a 2:b.c:d 3:e 4:f 5:g 6:line 6 8:line 8 9:line 9", functions)
  end)

  it("gives nothing for what does not compile", function()
    assert.is_nil(coverage("x = = 1", "@x.lua"))
    assert.is_nil(coverage("\27LJ", "@x.lua"))
    assert.same("1", (parts ""))
  end)
end)

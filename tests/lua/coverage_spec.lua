-- How much of a public collection of attacks the policies of scripts/ see must not fall: tests/lua/coverage.lua.
package.path = "tests/lua/?.lua;" .. package.path

describe("of the 398 attacks", function()
  setup(function() jit.off() end)
  teardown(function() jit.on() end)

  it("so many are told of", function()
    local found = require("coverage").measure()
    assert.equal(398, found.total)
    assert.is_true(found.passed >= 233, found.passed .. " when a shell is passed their text")
    assert.is_true(found.typed >= 153, found.typed .. " when they are typed")
  end)
end)

-- What a command line says: lua/moonwatch/command.lua.
package.path = "lua/?.lua;tests/lua/?.lua;" .. package.path
local command = require "moonwatch.command"
local host = require("script_host").new()

local function process(args, fields)
  local result = { args = args }
  for key, value in pairs(fields or {}) do
    result[key] = value
  end
  return setmetatable(result, host.meta)
end

local function words(text)
  local result = {}
  for _, one in ipairs(command.parse(text)) do
    result[#result + 1] = table.concat(one.words, "|")
  end
  return result
end

describe("a program", function()
  local tools = { nc = true, python = true, bash = true, ["php-fpm"] = true, wget = true }
  it("is known by its first argument, its file, its comm, and by what busybox is to be", function()
    assert.equal("nc", command.is(process { "/bin/nc" }, tools))
    assert.equal("nc", command.is(process({ "x" }, { exe = "/usr/bin/nc" }), tools))
    assert.equal("nc", command.is(process({ "x" }, { comm = "nc" }), tools))
    assert.equal("wget", command.is(process { "/bin/busybox", "wget" }, tools))
    assert.equal("bash", command.is(process { "-bash" }, tools))
  end)
  it("is known without its version", function()
    assert.equal("python", command.is(process { "python3.11" }, tools))
    assert.equal("php-fpm", command.is(process({}, { comm = "php-fpm8.2" }), tools))
  end)
  it("of which nothing is known is none of them", function()
    assert.is_nil(command.is(process(nil), tools))
    assert.is_nil(command.is(process { "" }, tools))
    assert.is_nil(command.is(process { "/" }, tools))
    assert.is_nil(command.is(process({}, { exe = "/usr/bin/7" }), tools))
  end)
end)

describe("what a shell was told", function()
  it("is behind -c, also where it has other options", function()
    assert.equal("id", command.told(process { "sh", "-c", "id", "x" }))
    assert.equal("id", command.told(process { "bash", "--norc", "-xec", "id" }))
    assert.equal("id", command.told(process { "busybox", "sh", "-c", "id" }))
  end)
  it("is nothing where it reads a script, or is no shell", function()
    assert.is_nil(command.told(process { "sh", "x.sh", "-c", "id" }))
    assert.is_nil(command.told(process { "python3", "-c", "id" }))
    assert.is_nil(command.told(process { "sh", "-c" }))
    assert.is_nil(command.told(process(nil, { comm = "sh" })))
  end)
end)

describe("a shell's text", function()
  it("falls into simple commands", function()
    assert.same({ "id", "uname|-a", "ls" }, words "id; uname -a && ls")
    assert.same({ "test|-f|x", "cat|x", "fi" }, words "if test -f x; then cat x; fi")
    assert.same({ "curl|-s|http://x/a?b", "sh|-s" }, words "curl -s http://x/a?b | sh -s")
  end)
  it("has quotes, escapes and comments", function()
    assert.same({ "echo|a b|c|d e" }, words [[echo 'a b' "c" d\ e # f]])
    assert.same({ [[echo|say "x" $y]] }, words [[echo "say \"x\" \$y"]])
    assert.same({ "echo|a;b|c#d" }, words [[echo 'a;b' c#d]])
    assert.same({ "echo|", "id" }, words "echo ''; id")
  end)
  it("has redirections, with blanks and without", function()
    local one = command.parse "A=1 cat < in 2>/dev/null >out >> more 2>&1"[1]
    assert.same({ "cat" }, one.words)
    assert.same({ "A=1" }, one.assigns)
    assert.same({ "in" }, one.reads)
    assert.same({ "/dev/null", "out", "more" }, one.writes)
    assert.same({ "x" }, command.parse "> x"[1].writes)
    assert.same({ "y" }, command.parse "id &> y"[1].writes)
    assert.same({}, command.parse "cat << EOF"[1].writes)
  end)
  it("has substitutions and pipes", function()
    assert.same({ "echo", "id" }, words "echo $(id)")
    assert.is_true(command.parse("a | b")[2].piped)
    assert.is_nil(command.parse("a || b")[2].piped)
    assert.is_true(command.parse("(a) | b")[2].piped)
    assert.is_true(command.parse("a |\n b")[2].piped)
  end)
  it("that is broken or hostile ends", function()
    for _, text in ipairs { "'", '"', "\\", "$(", "a >", "<", "((((", '"\\', "`", "\0\255" } do
      command.parse(text)
    end
  end)
end)

describe("padding", function()
  local paddings = { (" "):rep(60000), ("\n"):rep(60000), ("; \n"):rep(20000), ": " .. ("x"):rep(60000) .. ";" }
  it("hides nothing of what a shell was told", function()
    for _, padding in ipairs(paddings) do
      local ev = process { "sh", "-c", padding .. " id > /x" }
      assert.same({ "/x" }, command.writes(ev))
      assert.is_truthy(command.text(ev):find(" id > /x", 1, true))
    end
  end)
  it("of more words than are read leaves the end", function()
    local list = command.parse(("a;"):rep(30000) .. "id > /x")
    assert.same({ "/x" }, list[#list].writes)
    assert.is_true(#list < 10000)
  end)
  it("is one blank in a flat text", function()
    assert.equal("a b c ", command.flat "a\t\n b   c\n")
    assert.equal(" x", command.flat((" "):rep(60000) .. "x"))
    assert.is_nil(command.flat(nil))
  end)
end)

it("two parts of a text are found in their order, however often the first is there", function()
  assert.is_true(command.after("a=1 b=2", "a=", "b="))
  assert.is_false(command.after("b=2 a=1", "a=", "b="))
  assert.is_false(command.after("a", "a", "a"))
  assert.is_false(command.after(nil, "a", "b"))
  local from = os.clock()
  assert.is_false(command.after(("ab"):rep(30000), "a", "c"))
  assert.is_true(os.clock() - from < 0.5)
end)

describe("the files that a command writes", function()
  local function writes(...)
    return command.writes(process { ... })
  end
  it("are known for those that write", function()
    assert.same({ "/a", "/b" }, writes("tee", "-a", "/a", "/b"))
    assert.same({ "/dst" }, writes("cp", "-f", "/src", "/dst"))
    assert.same({ "/dst" }, writes("install", "-m", "755", "/src", "/dst"))
    assert.same({ "/x" }, writes("sed", "-i", "s/a/b/", "/x"))
    assert.same({ "/x" }, writes("sed", "-i.bak", "-e", "s/a/b/", "/x"))
    assert.same({ "/y" }, writes("dd", "if=/x", "of=/y"))
    assert.same({ "/z" }, writes("truncate", "-s", "0", "/z"))
    assert.same({ "/w" }, writes("sh", "-c", "echo > /w"))
  end)
  it("are none for those that read", function()
    assert.same({}, writes("sed", "s/a/b/", "/x"))
    assert.same({}, writes("cat", "/x"))
    assert.same({}, writes("cp", "/x"))
    assert.same({}, command.writes(process(nil)))
  end)
end)

-- What is remembered of an event is for all scripts; what one does to what it was given is its own affair.
it("an answer that is emptied is whole for the next one who asks", function()
  local ev = process({ "sh", "-c", "A=1 echo x y > /w" }, { type = "exec" })
  local function empty(value)
    for key, one in pairs(value) do
      if type(one) == "table" then
        empty(one)
      end
      value[key] = nil
    end
  end
  empty(command.writes(ev))
  empty(command.commands(ev))
  assert.same({ "/w" }, command.writes(ev))
  assert.same({ "echo", "x", "y" }, command.commands(ev)[1].words)
  assert.same({ "A=1" }, command.commands(ev)[1].assigns)
  assert.equal("/w", command.writes_to(ev, function() return true end))
end)

describe("options", function()
  it("are found alone, in a bunch, and with a value", function()
    assert.equal("-e", command.flag({ "nc", "-nve", "sh" }, "-e"))
    assert.equal("--exec", command.flag({ "ncat", "--exec=sh" }, "--exec"))
    assert.is_nil(command.flag({ "nc", "--exec" }, "-e"))
    assert.is_nil(command.flag({ "-e" }, "-e"))
    assert.is_nil(command.flag(nil, "-e"))
  end)
  it("are no operands, nor are their values", function()
    assert.same({ "a", "-", "-b" }, command.operands { "x", "-v", "a", "-", "--", "-b" })
    assert.same({ "f" }, command.operands({ "x", "-s", "0", "f" }, "s"))
  end)
end)

it("people are told who runs what under what", function()
  local init = process({ "init" }, { comm = "systemd" })
  local shell = process({ "bash" }, { comm = "bash", parent = init })
  local ev = process({ "nc", "-l" }, { euid = 0, loginuid = 1000, parent = shell })
  assert.equal("user 0, login 1000: 'nc -l' under systemd > bash", command.who(ev))
  assert.equal("user ?: '?' under ?", command.who(process(nil)))
end)

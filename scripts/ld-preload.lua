-- A program that is started with a library before all others (LD_PRELOAD, LD_AUDIT) that lies where users may write.
-- Why: such a library sees passwords, hides files and processes, and needs no root.
-- ATT&CK: T1574.006
-- False positives: developers who try their own library; sandboxes and profilers with libraries in odd places
--   (`ignore`).
--   Libraries of the system's directories, or named without a directory (fakeroot, jemalloc), are left out.
-- Not seen: programs that end before they can be asked, and more than `per_second`: how many is said at the end. The
--   lines
--   of /etc/ld.so.preload are watched by shell-profile.lua.
-- Options: per_second = 100 (programs that are asked); system = beginnings of directories; ignore = texts in the value
local mw = require "moonwatch"
local command = require "moonwatch.command"

local per_second = mw.option("per_second", 100)
local system = mw.option("system", { "/usr/", "/lib", "/opt/", "/snap/", "/nix/store/", "$LIB", "/$LIB" })
local ignore = mw.option("ignore", { "/libgtk3-nocsd", "/gamescope", "/steam" })
local names = mw.set { "LD_PRELOAD", "LD_AUDIT" }

local asking = mw.throttle { per = "1s", limit = per_second }

-- The first library that lies elsewhere than the system's; a name without a directory is looked for there only.
local function odd(value)
  for library in (value or ""):gmatch "[^%s:]+" do
    if library:find("/", 1, true) and not command.begins(library, system) and not command.contains(library, ignore) then
      return library
    end
  end
end

local function in_environment(ev)
  if ev.pid and asking:pass "all" then
    for _, variable in ipairs(ev:environ() or {}) do
      local library = names[variable.name] and odd(variable.value)
      if library then
        return variable.name, library
      end
    end
  end
end

local function assigned(texts)
  for _, text in ipairs(texts) do
    local name, value = text:match "^(LD_%u+)=(.*)$"
    local library = names[name] and odd(value)
    if library then
      return name, library
    end
  end
end

-- LD_PRELOAD=/tmp/x.so ls, in a shell's text or behind env
local function in_text(ev)
  local name, library = assigned(command.is(ev, { env = true }) and ev.args or {})
  for _, one in ipairs(not name and command.commands(ev) or {}) do
    name, library = assigned(one.assigns)
    if name then
      break
    end
  end
  return name, library
end

mw.at_exit(function()
  if asking.held > 0 then
    mw.log(("%d programs were not asked: more than %d a second"):format(asking.held, per_second))
  end
end)

return mw.script {
  name = "ld-preload",
  tags = { "attack.t1574.006" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local name, library = in_text(ev)
      if not name then
        name, library = in_environment(ev)
      end
      if name then
        mw.alert { severity = "high", key = library .. (ev.sid or ""), dedup = "5m", event = ev,
          tags = { "attack.t1574.006" },
          text = ("%s loads %s before all others: %s"):format(name, library, command.who(ev)) }
      end
    end,
  },
}

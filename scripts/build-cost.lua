-- What a build costs: processor time of all its processes, wall time, how many, and what took the most.
-- Why: `time make` shows the sum, not that three files take half of it; and nothing shows it for the builds of others.
-- ATT&CK: none
-- False positives: none: it is to be read, not to alert.
-- Not seen: what a build lets a daemon do (gradle, ccache servers, docker build), and processes that outlive it.
-- Options: roots = names of programs that are builds; top = 5 (most expensive programs and commands); least = 1
--   (seconds of
--   processor time: what costs less is not told of)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local roots = mw.set(mw.option("roots", { "make", "gmake", "ninja", "samu", "cargo", "cmake", "ctest", "bazel",
  "buck2", "meson",
  "dpkg-buildpackage", "rpmbuild", "makepkg", "go", "mvn", "gradle", "npm", "yarn", "pnpm", "pip", "scons", "tox" }))
local top = mw.option("top", 5)
local least = mw.option("least", 1)

local builds, count = {}, 0 -- [id of the outermost build] = figures

-- The outermost ancestor that is a build: a make in a make is part of it.
local function root_of(ev)
  local root = command.is(ev, roots) and ev or nil
  for process in ev:ancestors() do
    if command.is(process, roots) then
      root = process
    end
  end
  return root
end

local function build_of(root)
  local build = builds[root.id]
  if not build and count < 1000 then
    build = { cpu = 0, processes = 0, peak = 0, programs = {}, worst = {} }
    builds[root.id], count = build, count + 1
  end
  return build
end

local function add(build, ev, cpu)
  local program = command.base(ev.exe) or ev.comm or "?"
  build.cpu, build.processes = build.cpu + cpu, build.processes + 1
  build.peak = math.max(build.peak, ev.max_rss or 0)
  build.programs[program] = (build.programs[program] or 0) + cpu
  table.insert(build.worst, { cpu = cpu, text = command.cut(command.text(ev) or program, 100) })
  table.sort(build.worst, function(a, b) return a.cpu > b.cpu end)
  build.worst[top + 1] = nil
end

local function dearest(programs)
  local names = {}
  for name in pairs(programs) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return programs[a] > programs[b] end)
  for i = 1, #names do
    names[i] = i <= top and ("%s %.1f s"):format(names[i], programs[names[i]]) or nil
  end
  return table.concat(names, ", ")
end

local function tell(build, ev)
  print(("%8.1f s cpu in %.1f s, %d processes, largest %d MB: %s"):format(build.cpu, ev.duration or 0, build.processes,
    build.peak / 1e6, command.cut(command.text(ev) or ev.comm or "?", 100)))
  print("           by program: " .. dearest(build.programs))
  for _, one in ipairs(build.worst) do
    print(("           %8.2f s  %s"):format(one.cpu, one.text))
  end
end

return mw.script {
  name = "build-cost",
  needs = command.needs,
  on = {
    exit = function(ev)
      local root = root_of(ev)
      local build = root and root.id and build_of(root)
      if not build then
        return
      end
      add(build, ev, (ev.cpu_user or 0) + (ev.cpu_system or 0))
      if root.id == ev.id then
        builds[ev.id], count = nil, count - 1
        if build.cpu >= least then
          tell(build, ev)
        end
      end
    end,
  },
}

---@meta moonwatch
-- Definitions of the library for the Lua language server. The fields of events are in event.lua.

---@alias moonwatch.Kind
---| "fork" # a process was made; pid is the child's
---| "exec" # a process runs another program
---| "exit" # a process ended
---| "uid" # user ids changed
---| "gid" # group ids changed
---| "sid" # a new session
---| "ptrace" # a debugger attached or let go
---| "comm" # a process renamed itself
---| "coredump" # a process dumps core
---| "snapshot" # was running when the watch began, or was found after a loss
---| "lost" # events were lost
---| "reload" # scripts were loaded anew
---| "storm" # more than the scripts can take: ev.phase is "begin", "sum" (of one parent) or "end"; see below
---| "any" # all of these but "storm"

---@alias moonwatch.Handler fun(ev: moonwatch.Event, state: table?)

-- A script with a handler for "storm" is told sums when it falls behind: from "begin" to "end" only
-- the first fork, exec and exit of each program under each sort of parent (program, user, control
-- group) comes to its other handlers, and a "sum" each second tells for each parent how many children
-- it forked, how many events were summed, and how many distinct names they had, since the last one.

---@class moonwatch.Script
---@field name string for messages, alerts and the summary
---@field tags? string[] rule.tags of its alerts that have none of their own, such as ATT&CK ids: "attack.t1505.003"
---@field threads? boolean also forks and exits of threads (then tid differs from pid)
---@field needs? "all"|string[] fields that are to be read besides those that the script mentions: { "cwd", "cgroup" }
---@field on? table<moonwatch.Kind, moonwatch.Handler|table> what to call; a value of mw.where{...}(f), mw.sigma(...), or a list
---@field state? table each handler's second argument; change what is in it, it is taken when the script is loaded
---@field reload? fun(old: table?): table? makes the state from that of the version before; when it throws, that goes on
---@field description? any for people, as are author and references: nothing looks at them
---@field author? any
---@field references? any

---@class moonwatch.Alert
---@field severity? "low"|"medium"|"high"|"critical" "medium" when not given
---@field text? string what to tell
---@field event? moonwatch.Event|moonwatch.Process what it is about
---@field key? any what makes two alerts equal
---@field dedup? string|number hold equal alerts back for this span: "5m"
---@field tags? string[] go into rule.tags, instead of those of mw.script
---@field sink? moonwatch.Sink|moonwatch.Sink[] where to tell it, instead of the main output
---@field dump? string|number keep the events of this span before and after, and those of the process's family, in a
---file that can be replayed: "30s"
---@field rule? { id: string?, title: string?, author: string?, details: table? } of a script that has many: rule.id,
---rule.name (rule.ruleset is the script then), rule.author, and moonwatch.alert.details in its JSON

-- NAME_test.lua returns a list of these, for `moonwatch test`: ---@type moonwatch.Test[]

---@class moonwatch.Test
---@field name string what it claims
---@field events? moonwatch.TestEvent[] made-up events, in their order
---@field commands? string[][] really run and watched, one after another: { { "sh", "-c", "exit 3" } }
---@field recording? string a file beside the test, to be played
---@field alerts? integer|moonwatch.TestAlert[] how many; or which, in any order
---@field output? string|string[] texts to be found in what the script writes
---@field errors? integer how many it throws; 0 when not given
---@field status? integer|integer[] what the commands end with, 128 + the signal that ended one: of all, or of each
---@field options? table<string, string|number|boolean> what mw.option gives

---@class moonwatch.TestEvent: moonwatch.Event what is left out is filled in
---@field type? moonwatch.Kind "exec" when not given
---@field at? string|number when, from the beginning: "5m"; a second after the one before when not given
---@field parent? moonwatch.TestEvent was running before; the same table twice is the same process

---A value, or a predicate such as mw.match.glob "/tmp/*" makes it.
---@alias moonwatch.TestValue string|number|boolean|fun(value: any): any

---What one alert is to have; what is left out does not matter.
---@class moonwatch.TestAlert
---@field severity? moonwatch.TestValue
---@field text? moonwatch.TestValue
---@field key? moonwatch.TestValue
---@field tags? moonwatch.TestValue[]|fun(value: any): any each of these is among its tags; or one fits
---@field event? table<string, any> of its event or process: fields, parent = { ... }, was = { ... }

---How a field is known: "connector", "proc", "inherited", "kept", "computed", "absent", or
---"missing: " and the reason.
---@param field string
---@return string
function Process:why(field) end

---The value under any ECS, Sysmon/Sigma, OCSF, Falco or own name.
---@param name string
---@return any
function Process:get(name) end

---The nearest ancestor that fits, as it was when it forked.
---@param what table<string, any>|fun(process: moonwatch.Process): boolean fields and their values, or lists of values
---@return moonwatch.Process?
function Process:ancestor(what) end

---The parent, its parent, and so on.
---@return fun(): moonwatch.Process?
function Process:ancestors() end

---@class moonwatch.WatchFigures of a process and its living descendants together
---@field cpu number processor time since the last look, in parts of a core: 1.0 is one core; what ended in between is not in it
---@field rss integer resident memory in bytes; what they share counts for each
---@field threads integer
---@field processes integer how many live
---@field left_out integer of these were not looked at: 64 processes and 0.25 s are the most for a look
---@field sockets table[] rows of ev:sockets() with `pid` and `comm`
---@field new_sockets table[] those that were not there at the last look
---@field interval number seconds since the last look

---@class moonwatch.WatchOptions
---@field every? string|number "1s" when not given, 100 ms at least
---@field for_? string|number how long, "30s" when not given
---@field sample? fun(process: moonwatch.Process, figures: moonwatch.WatchFigures)
---@field done? fun(process: moonwatch.Process, why: "gone"|"over"|"cancelled") "gone": neither it nor a descendant lives
---@field sockets? boolean false: they are not read, which is most of what a look costs

---@class moonwatch.Watch
---@field process moonwatch.Process
---@field samples integer
---@field problem? string why something could not be read, other than that it was gone
local Watch = {}

---Follow this process and its descendants for a while by asking /proc: processor time, memory, sockets.
---The first look is what the first sample is compared with, so that comes after `every`. A script has 32
---watches at most, one for each process; they end when it is reloaded.
---
---    ev:watch {
---      every = "2s", for_ = "1m",
---      sample = function(p, figures)
---        if figures.cpu > 0.9 and #figures.new_sockets > 0 then
---          mw.alert { severity = "high", key = p.id, dedup = "1h", event = p, text = "busy, and talks" }
---        end
---      end,
---    }
---@param options moonwatch.WatchOptions
---@return moonwatch.Watch?
---@return string? reason
function Process:watch(options) end

---End it now; `done` is told "cancelled".
function Watch:cancel() end

---Does it still look?
---@return boolean
function Watch:running() end

local mw = {}

---@class moonwatch.CommandLine one simple command of a shell's text
---@field words string[] name and arguments, without quotes; nothing is expanded
---@field assigns string[] NAME=value before them
---@field writes string[] files of > and >>
---@field reads string[] files of <
---@field piped boolean? its input is the output of the one before

---What a command line says, as far as it does: `mw.command`, or `require "moonwatch.command"`. What is missing
---in an event matches nothing.
---@class moonwatch.CommandLibrary
---@field needs string[] the fields that these functions look at: mw.script { needs = mw.command.needs, ... }
---@field shells table<string, true>
mw.command = {}

---The last component of a path.
---@param path string?
---@return string?
function mw.command.base(path) end

---The first of a program's names (applet of busybox, argv[0], file, comm; versions left out) that is in the set.
---
---    local netcats = mw.set { "nc", "ncat" }
---    -- in on.exec: also busybox nc, /bin/nc.traditional under the name of nc, or a shell's `exec -a x nc`
---    if mw.command.is(ev, netcats) and mw.command.flag(ev.args, "-e", "--exec") then mw.alert { event = ev } end
---@param process moonwatch.Process
---@param wanted table<string, any>
---@return string? name
function mw.command.is(process, wanted) end

---The nearest ancestor that has a name of this set.
---@param ev moonwatch.Process
---@param wanted table<string, any>
---@return moonwatch.Process?
function mw.command.below(ev, wanted) end

---The first of these parts that the text contains, as it is.
---@param text string?
---@param parts string[]
---@return string? part
function mw.command.contains(text, parts) end

---The first of these that the text begins with.
---@param text string?
---@param beginnings string[]
---@return string? beginning
function mw.command.begins(text, beginnings) end

---The arguments joined by blanks, 64 KiB at most.
---@param process moonwatch.Process
---@return string?
function mw.command.text(process) end

---The text with one blank in the place of blanks, tabs and newlines: for patterns, as padding hides nothing there.
---Who starts a process chooses its length, up to 64 KiB: a pattern with `.*` in it takes seconds, see `after`.
---@param text string?
---@return string?
function mw.command.flat(text) end

---Does the text have a match of the pattern `first`, and behind it one of `second`? As `first.*second`, but fast.
---
---    if mw.command.after(mw.command.flat(mw.command.text(ev)), "ProxyCommand=", "sh 0<&2") then ... end
---@param text string?
---@param first string
---@param second string
---@return boolean
function mw.command.after(text, first, second) end

---What a shell was told by -c.
---@param ev moonwatch.Process
---@return string?
function mw.command.told(ev) end

---The simple commands of a shell's text, without expanding anything.
---@param text string
---@return moonwatch.CommandLine[]
function mw.command.parse(text) end

---Those that a shell was told by -c. Programs come as execs of their own; what is built in, and redirections, do not.
---@param ev moonwatch.Event
---@return moonwatch.CommandLine[]
function mw.command.commands(ev) end

---Is one of these options there? "-x" also inside of "-axb", "--long" also as "--long=value".
---@param words string[]?
---@param ... string
---@return string? option
function mw.command.flag(words, ...) end

---The arguments that are no options. `valued`: letters of the options whose value is a word of its own.
---@param words string[]?
---@param valued? string
---@return string[]
function mw.command.operands(words, valued) end

---The files that a command writes, as far as it says so: tee, cp, mv, ln, install, sed -i, dd, truncate, touch, and
---the redirections of a shell's text.
---@param ev moonwatch.Event
---@return string[]
function mw.command.writes(ev) end

---The first of these for which fits(path).
---@param ev moonwatch.Event
---@param fits fun(path: string): any
---@return string? path
function mw.command.writes_to(ev, fits) end

---@param text string
---@param most? integer 160
---@return string
function mw.command.cut(text, most) end

---"sshd > bash > make": the ancestors, nearest last.
---@param ev moonwatch.Process
---@return string
function mw.command.above(ev) end

---"user 0, login 1000: 'nc -l 4444' under sshd > bash", for an alert.
---@param ev moonwatch.Process
---@return string
function mw.command.who(ev) end

---Describe this script. Returns its argument, so that a script can end in `return mw.script {...}`.
---@param script moonwatch.Script
---@return moonwatch.Script
function mw.script(script) end

---A test in C, made before a table is: all fields must have one of the values. Call the result with
---a handler.
---@param tests table<string, any> value, list of values, or mw.prefix(...), mw.suffix, mw.contains, mw.none
---@return fun(handler: moonwatch.Handler): table
function mw.where(tests) end

---@param ... string|string[]
function mw.prefix(...) end
---@param ... string|string[]
function mw.suffix(...) end
---@param ... string|string[]
function mw.contains(...) end
---None of these, or no value at all.
---@param ... any
function mw.none(...) end

---Tell of something that matters.
---@param alert moonwatch.Alert
---@return boolean told false when it was held back
function mw.alert(alert) end

---Write an event (with what scripts changed in it), any other table as JSON, or a string as a line: to
---the main output, or to a sink instead.
---@param value any
---@param sink? moonwatch.Sink|moonwatch.Sink[]
function mw.emit(value, sink) end

---@class moonwatch.SinkOptions
---@field format? string "json" (one line of ECS JSON), or a template such as "{time} {severity} {script}: {exe}":
---any field of events, "parent.comm" and the like, and time severity script text key tags held json cmdline id;
---"{{" is a brace. JSON when not given; "{script}: {text}" for syslog and journald
---@field queue? string|integer bytes of memory for records that wait for a slow reader: "1M" when not given
---@field full? "drop_oldest"|"drop_newest"|"spool" what gives way when it is full; drops are counted and told
---@field spool? string|integer bytes of disk below --output-dir for full = "spool": "64M" when not given

---@class moonwatch.FileOptions: moonwatch.SinkOptions
---@field path string below --output-dir; "a/b.log" when the directory a is there
---@field rotate? string|integer put it aside as PATH.1 when it has so many bytes: "10M"
---@field keep? integer how many of these are kept, 5 when not given

---@class moonwatch.SocketOptions: moonwatch.SinkOptions
---@field path? string of a unix socket: below --output-dir, or as given to --allow-unix

---@class moonwatch.ExecOptions: moonwatch.SinkOptions
---@field argv string[] a program and its arguments; it reads lines from its standard input

---@class moonwatch.SinkStats
---@field sent integer records written whole
---@field dropped integer given up
---@field queued integer wait in memory
---@field spooled integer wait on disk
---@field doubtful integer may have been written twice, because a worker died in the middle of it
---@field errors integer

-- An output of the script's own. It goes with the script's version when what waits has been written;
-- the next version that asks for the same goes on with it.
---@class moonwatch.Sink
local Sink = {}

---Send an event, any other table as JSON, or a string as a line, in which control characters are shown.
---@param value any
function Sink:emit(value) end

---@return moonwatch.SinkStats
function Sink:stats() end

mw.sink = {}

---Standard output, without waiting for its reader.
---@param options? moonwatch.SinkOptions
---@return moonwatch.Sink
function mw.sink.stdout(options) end

---A file, which is only ever appended to.
---@param options moonwatch.FileOptions
---@return moonwatch.Sink
function mw.sink.file(options) end

---A unix socket: a line each on a stream, or a datagram each.
---@param options moonwatch.SocketOptions
---@return moonwatch.Sink
function mw.sink.unix(options) end

---/dev/log, in the form of RFC 5424: facility authpriv for alerts, daemon for the rest; cut at 8 KiB.
---@param options? moonwatch.SocketOptions
---@return moonwatch.Sink
function mw.sink.syslog(options) end

---The journal, with each field of the event as MOONWATCH_NAME.
---@param options? moonwatch.SocketOptions
---@return moonwatch.Sink
function mw.sink.journald(options) end

---A program that reads lines, run as the user of scripts where --allow-exec permits it; started again
---when it ends.
---@param options moonwatch.ExecOptions
---@return moonwatch.Sink
function mw.sink.exec(options) end

---One line of the main output: the arguments with tabs between. Control characters in them are shown, a newline as
---\x0a, because a process chooses its name and its arguments; mw.emit writes a text with its newlines.
---@param ... any
function print(...) end

---A line to the operator, on standard error: the arguments with blanks between.
---@param ... any
function mw.log(...) end

---A set, to ask `set[value]`.
---@param list any[]
---@return table<any, true>
function mw.set(list) end

---@param seconds number at least 0.001
---@param f fun()
---@return integer timer
function mw.every(seconds, f) end

---@param seconds number
---@param f fun()
---@return integer timer
function mw.after(seconds, f) end

---@param timer integer
function mw.cancel(timer) end

---@param f fun() called when the watch ends
function mw.at_exit(f) end

---Seconds since the epoch: of the event that is handled, else when the call of the script began.
---@return number
function mw.now() end

---Seconds in "90s", "5m", "250ms", or a number as it is.
---@param span string|number
---@return number
function mw.seconds(span) end

---The living process of this pid.
---@param pid integer
---@return moonwatch.Process?
function mw.proc(pid) end

---All living processes.
---@return fun(): moonwatch.Process?
function mw.processes() end

---@class moonwatch.Census what is known of a pid; all false but `listed` when it does not live
---@field listed boolean in the list of /proc
---@field open boolean /proc/PID is there, and is about it
---@field lives boolean kill() reaches it
---@field thread boolean it is a thread of a process with another pid, which /proc does not list

---Which of these pids live (8192 at most), by three ways of asking that should agree: what begins or ends just now
---may differ for a moment, what differs twice in a row is hidden. Takes milliseconds.
---@param pids integer[]
---@return table<integer, moonwatch.Census>? census those of which anything tells; nil: it could not be asked
---@return integer[]|string listed all pids that /proc lists, in order; or the reason
function mw.census(pids) end

---@class moonwatch.Named parts of 1 of the execs that were seen since a script needs it: 1.0 when each had it
---@field exe number? nil: no script needs it
---@field args number? the same
---@field comm number

---@class moonwatch.Stats counts are since the start of the watch
---@field events integer told by the kernel
---@field lost integer by the kernel, proved by its counters
---@field inferred integer events made by comparing with /proc after a loss
---@field forged integer messages rejected because the kernel did not send them
---@field missed integer records that the scripts were too slow for
---@field summed integer events that were added up in storms instead of told
---@field unheard integer records of the tap, of taskstats or of the reader that found no room: they cost names
---@field execs integer
---@field named moonwatch.Named
---@field processes integer alive now
---@field evicted integer entries dropped from the full table of processes
---@field buffer_bytes integer receive buffer granted by the kernel
---@field buffer_fill number part of 1 of it that was in use at the last look
---@field backlog number part of 1 of the memory between collector and scripts that waits
---@field storm boolean one lasts

---The figures of the watch as of now; the collector posts its own with each batch of events.
---@return moonwatch.Stats
function mw.stats() end

---Alerts of this script that were held back and not told, because no equal one came after the span:
---key and how many. What was handed out is told.
---
---    mw.at_exit(function()
---      for key, held in mw.held(true) do print(held .. " more of " .. key) end
---    end)
---@param all? boolean also those whose span lasts
---@return fun(): string?, integer?
function mw.held(all) end

-- What follows takes time from mw.now(): of the event that is handled. Keys are strings, numbers or
-- booleans. All of it is bounded, and says what it dropped.

---@class moonwatch.WindowOptions
---@field span string|number for how long what was added counts: "1m"
---@field max? integer keys at most, 10,000 when not given; the one that was used longest ago makes room
---@field values? integer different values of a key at most, 256 when not given; 0: none are kept, for sums only

---@class moonwatch.Window
---@field span number seconds
---@field dropped integer keys that had to make room while something of theirs counted
---@field dropped_values integer values that had to make room: distinct() is then "at least"
---@field unkeyed integer additions without a key, which count nowhere
local Window = {}

---How much of something came within a span, by key.
---
---    local w = mw.window { span = "1m" }
---    -- in on.exec: five different programs within a minute, of one session
---    w:add(ev.sid, ev.comm)
---    if w:distinct(ev.sid) >= 5 then mw.alert { key = ev.sid, dedup = "5m", event = ev } end
---
---Exact, as long as a key has additions of no more than 60 different times within the span. With more, what
---is up to 5 % of the span too old may count as well; nothing is ever lacking. A key takes 2 KiB at most,
---and its values come on top: ten values a key on the average of all `max`.
---@param options moonwatch.WindowOptions
---@return moonwatch.Window
function mw.window(options) end

---One more under this key, now. A number as the value goes into sum(), and any value into distinct().
---@param key any nil: counts nowhere but in `unkeyed`
---@param value? string|number|boolean
---@return integer count how many there are within the span, this one included
function Window:add(key, value) end

---@return integer
function Window:count(key) end

---The numbers that were added, added up.
---@return number
function Window:sum(key) end

---How many a second, over the whole span.
---@return number
function Window:rate(key) end

---How many different values.
---@return integer
function Window:distinct(key) end

---The different values, in no order.
---@return any[]
function Window:values(key) end

---Begin anew for this key.
function Window:forget(key) end

---All keys with something within the span, in no order, and how many each has.
---@return fun(): any, integer
function Window:each() end

---@class moonwatch.SequenceOptions
---@field by fun(ev: moonwatch.Event): string|number|boolean|nil what the events must have in common; nil: this one is left out
---@field within string|number from the first to the last
---@field steps (fun(ev: moonwatch.Event): any)[] a test for each step, in their order, 2 to 32
---@field matched? fun(events: moonwatch.Event[], key: any) the events of the steps
---@field max? integer keys at most, 2,000 when not given; the one that began longest ago makes room

---@class moonwatch.Sequence
---@field within number seconds
---@field matches integer
---@field dropped integer keys that had to make room while they were within the time
---@field unkeyed integer events that were left out
local Sequence = {}

---This, then that, then that, within a span. Other events may come between; one event is one step only.
---Of what overlaps, the try that began last goes on, since it finishes whenever any would. A match forgets
---all tries of its key: it begins anew.
---
---    local s = mw.sequence {
---      by = function(ev) return ev.sid end,
---      within = "5m",
---      steps = {
---        function(ev) return ev.comm == "curl" or ev.comm == "wget" end,
---        function(ev) return ev.comm == "chmod" end,
---        function(ev) return ev.exe:find "^/tmp/" ~= nil end,
---      },
---      matched = function(events) mw.alert { severity = "high", event = events[3] } end,
---    }
---    -- in on.exec:
---    s:feed(ev)
---@param options moonwatch.SequenceOptions
---@return moonwatch.Sequence
function mw.sequence(options) end

---Look at an event, from any handler.
---@param ev moonwatch.Event
---@return moonwatch.Event[]? events when it was the last one of a sequence
function Sequence:feed(ev) end

---Begin anew for this key.
function Sequence:forget(key) end

---@class moonwatch.DedupOptions
---@field span string|number
---@field max? integer keys at most, 10,000 when not given; the one that was used longest ago makes room
---@field summary? fun(key: any, held: integer) told of what was held back when nothing more of the key came after its span (looked at once a minute, or per span if that is shorter), when the key makes room, and at the end of the watch

---@class moonwatch.ThrottleOptions
---@field per string|number
---@field limit integer how many of a key may pass within any span of this length, 10,000 at most
---@field max? integer
---@field summary? fun(key: any, held: integer)

---@class moonwatch.Gate
---@field span number seconds
---@field limit integer
---@field passed integer in all
---@field held integer held back, in all
---@field dropped integer keys that had to make room while their span lasted, or with a count of held ones
---@field dropped_held integer that count, when there is no `summary` to tell it to
local Gate = {}

---One of a key passes within the span, the others are held back and counted.
---
---    local d = mw.dedup { span = "5m" }
---    -- in on.exit:
---    local go, held = d:pass(ev.comm)
---    if go then print(("%s failed, %d more before"):format(ev.comm, held)) end
---@param options moonwatch.DedupOptions
---@return moonwatch.Gate
function mw.dedup(options) end

---At most so many of a key pass within any span, the others are held back and counted.
---
---    local t = mw.throttle { per = "1m", limit = 10 }
---    local go, held = t:pass(ev.uid)
---@param options moonwatch.ThrottleOptions
---@return moonwatch.Gate
function mw.throttle(options) end

---@param key any nil is a key too: what has none is equal
---@param span? number another span, in seconds, for this call
---@return boolean go may it pass?
---@return integer held how many of the key were held back since the last one that passed, this one included
function Gate:pass(key, span) end

---What was held back and not told, because nothing of the key came after its span. What was handed out is told.
---@param all? boolean also of keys whose span lasts
---@return fun(): any, integer key, held
function Gate:each_held(all) end

---@class moonwatch.MatchOptions
---@field cased? boolean false: capital letters of ASCII are as small ones; true when not given
---@field lenient? boolean true: what is no pattern is left out, and the second result says how many were

---Does the text fit one of the patterns? nil and "no value" without a text; nil and "limit" when a regular
---expression took too many steps and no other one fits, which counts as undecided in the summary.
---@alias moonwatch.Predicate fun(text: string?): boolean?, string?

---Patterns, one or a list of them, compiled once: make the predicate when the script is loaded. Texts may be
---any bytes, and none takes long. A bad pattern is an error where it was written.
---
---    local hidden = mw.match.glob { "/tmp/.*", "/dev/shm/*" }
---    -- in on.exec:
---    if hidden(ev.exe) then mw.alert { event = ev } end
---@class moonwatch.Match
mw.match = {}

---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
---@return integer? skipped
function mw.match.contains(patterns, options) end

---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.startswith(patterns, options) end

---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.endswith(patterns, options) end

---The whole text: `*` is any bytes, also `/`; `?` one byte; `[a-z]` and `[!a-z]` classes; `\\` takes what
---follows as it is. 1,023 elements at most.
---
---    local script = mw.match.glob("*.sh", { cased = false })
---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.glob(patterns, options) end

---PCRE2 on bytes, anywhere in the text. It gives up after 200,000 steps: a few milliseconds.
---
---    local pipe_to_shell = mw.match.regex [[\b(curl|wget)\b.*\|\s*(ba|da|z)?sh\b]]
---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.regex(patterns, options) end

---An address in one of the networks, or one of the addresses. Version 4 is told apart from 6, and `::ffff:`
---with an address of version 4 is that address.
---
---    local inside = mw.match.cidr { "10.0.0.0/8", "192.168.0.0/16", "fd00::/8" }
---    for _, s in ipairs(ev:sockets() or {}) do
---      if s.remote_ip and not inside(s.remote_ip) then print(ev.comm, s.remote_ip) end
---    end
---@param networks string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.cidr(networks, options) end

---Contains, where a dash that begins an option may also be `/` or one of the three longer dashes, as with
---Sigma's windash.
---
---    local encoded = mw.match.windash({ " -enc ", " -EncodedCommand " }, { cased = false })
---@param patterns string|string[]
---@param options? moonwatch.MatchOptions
---@return moonwatch.Predicate
function mw.match.windash(patterns, options) end

---@class moonwatch.ListOptions
---@field file string below the script's directory; nobody but root and its owner may be able to change it
---@field every? string|number how often it is looked at, "2s" when not given
---@field max? integer values, 100,000 when not given; more are left out, counted and told
---@field match? "contains"|"startswith"|"endswith"|"glob"|"regex"|"cidr"|"windash" the values are patterns
---@field cased? boolean for `match`
---@field optional? boolean the file may be missing; else it is an error when the script is loaded
---@field changed? fun(list: moonwatch.List) it was read again

---@class moonwatch.List
---@field name string
---@field count integer values
---@field dropped integer values that found no room
---@field skipped integer values that are no patterns
---@field problem? string why it could not be read the last time; the values are those from before
---@field loaded? number when it was read
local List = {}

---A file with one value a line, read again when it changes: `#` at the beginning or behind a blank begins a
---comment. Replace it by a rename (as editors do), or a half-written one is read for a moment.
---
---    local bad = mw.list "bad-programs.txt"
---    -- in on.exec:
---    if bad:has(ev.exe) then mw.alert { event = ev } end
---@param file string|moonwatch.ListOptions
---@return moonwatch.List
function mw.list(file) end

---One of the values? With `match`: does one of them fit?
---@param value any nil: false
---@return boolean?
function List:has(value) end

---Is the address in one of the networks that the list has? Lines that are none do not count.
---@param address string?
---@return boolean
function List:contains_ip(address) end

---The values in the order of the file, each once.
---@return string[]
function List:values() end

---@class moonwatch.SigmaRule
---@field id string
---@field title string
---@field author string
---@field level "informational"|"low"|"medium"|"high"|"critical"
---@field status string
---@field tags string[]
---@field path string where it was read
---@field line integer
---@field asked? integer events that it was asked about, in what rules() returns
---@field fired? integer those that it fitted
---@field undecided? integer those of which it could not say, because a field was missing

---@class moonwatch.SigmaOptions
---@field guard? fun(ev: moonwatch.Event, rule: moonwatch.SigmaRule): boolean? false: no alert. What Sigma cannot say,
---such as who is above the parent. When it fails the alert is told, and so is the error
---@field dedup? string|number hold alerts of one rule back for this span: "5m"
---@field level? "informational"|"low"|"medium"|"high"|"critical" tell of rules from this level on
---@field placeholders? table<string, string[]> what %name% stands for in values with the modifier expand
---@field every? string|number how often the files are looked at, "2s" when not given

---@class moonwatch.Sigma
---@field path string
---@field count integer rules
---@field refused integer documents that were not taken
---@field skipped integer rules about other records than processes
---@field problem? string why the files could not be read the last time; the rules are those from before
---@field loaded? number when they were read
local Sigma = {}

---Rules of Sigma as a handler: a file below the script's directory, or each *.yml and *.yaml below a directory.
---They are read again when they change; one that is wrong then goes on as it was.
---
---    local rules = mw.sigma("rules", {
---      guard = function(ev, rule) return not ev:ancestor { comm = "ansible" } end,
---    })
---    return mw.script { name = "sigma", on = { exec = rules } }
---@param path string
---@param options? moonwatch.SigmaOptions
---@return moonwatch.Sigma
function mw.sigma(path, options) end

---What is known of each rule, and what came of it.
---@return moonwatch.SigmaRule[]
function Sigma:rules() end

---@class moonwatch.BaselineOptions
---@field name string
---@field learn? string|number nothing is new within this span from the first question on, "7d" when not given
---@field max? integer keys, 100,000 when not given
---@field size? string|integer of the store, as with mw.persist; "8M" when not given

---@class moonwatch.Baseline
---@field name string
---@field count integer keys that are kept
---@field dropped integer keys that found no room: they are new once for each start of the script
---@field unkeyed integer questions without a key
---@field since? number when it began to learn
---@field problem? string why the last key could not be kept
local Baseline = {}

---What was never seen before on this host, by keys that mw.persist keeps: it survives reloads and restarts.
---When it is full, what is new is told once for each start of the script (10,000 keys are remembered that
---long), counted in `dropped`, and the operator is told.
---
---    local b = mw.baseline { name = "programs", learn = "7d" }
---    -- in on.exec:
---    if b:new(ev.exe) then mw.alert { text = "first time", event = ev } end
---@param options moonwatch.BaselineOptions
---@return moonwatch.Baseline
function mw.baseline(options) end

---Was it never seen before? It is known from now on. While learning: false.
---@param key string|number|boolean|nil by its text; nil: no answer
---@return boolean?
function Baseline:new(key) end

---Is it known? Asks without learning.
---@return boolean
function Baseline:knows(key) end

---@return boolean learning
---@return number seconds yet
function Baseline:learning() end

---The key is unknown again.
function Baseline:forget(key) end

---All keys that are kept, in no order.
---@return fun(): string?
function Baseline:each() end

---Give a process a name, which goes on to all that it forks from now on, and so on. Labels are the script's
---own; they outlive its reload, and end with the last descendant. 10,000 processes may have some.
---
---    -- in on.exec:
---    if ev.comm == "nginx" then mw.label(ev, "web") end
---    if ev.comm == "sh" and mw.labelled(ev, "web") then mw.alert { event = ev } end
---@param process moonwatch.Event|moonwatch.Process
---@param name string
---@return true? set nil when nothing tells this process apart from others: its start is not known
---@return string? reason
function mw.label(process, name) end

---The labels that it has or inherited, as a set.
---@param process moonwatch.Event|moonwatch.Process
---@return table<string, true>
function mw.labels(process) end

---@param process moonwatch.Event|moonwatch.Process
---@param name string
---@return boolean
function mw.labelled(process, name) end

---@param value any
---@return string
function mw.json(value) end

---What the operator set with `--set SCRIPT.name=value` (SCRIPT: the file's name without .lua), read as
---the type of `default`: a number; yes or no; a list between commas; else text. Ask while the script is
---loaded: what is set and was not asked for by then is a mistake, and the watch does not start.
---@generic T: string|number|boolean|string[]
---@param name string
---@param default T? what it is when nothing was set
---@return T
function mw.option(name, default) end

---End the watch; with a process: halt it (SIGSTOP), which the operator has to allow with --allow-kill.
---@param process? moonwatch.Event|moonwatch.Process
---@return true? sent
---@return string? reason
function mw.stop(process) end

---Let a halted process go on (SIGCONT).
---@param process moonwatch.Event|moonwatch.Process
---@return true? sent
---@return string? reason
function mw.cont(process) end

---@alias moonwatch.Signal "TERM"|"KILL"|"STOP"|"CONT"|"INT"|"HUP"|"QUIT"|"USR1"|"USR2"

---Send a signal to the process that is meant, or to none: a pid that was given out again is never hit.
---The operator has to allow it with --allow-kill, and is told of each.
---@param process moonwatch.Event|moonwatch.Process
---@param signal? moonwatch.Signal "TERM" when not given
---@return true? sent
---@return string? reason "not allowed: start with --allow-kill", "gone", ...
function mw.kill(process, signal) end

---@class moonwatch.PersistOptions
---@field name string of the store; each script has its own
---@field max? string|integer bytes of all keys and values, 4k to 16M; "1M" when not given

---@class moonwatch.Persist what mw.persist gave
local Persist = {}

---A fresh copy of the value; nil when there is none.
---@param key string|number|boolean
---@return any
function Persist:get(key) end

---Keep a value: nil (deletes), a boolean, number or string, or a table of them, at most 16 deep, without
---functions and metatables. When it returns true the value outlives this process.
---@param key string|number|boolean
---@param value any
---@return true? kept
---@return string? reason "full: ...", "cannot write: No space left on device"; then the old value stands
function Persist:set(key, value) end

---All keys and values as of now, in no order; the loop may set and delete.
---@return fun(): any, any
function Persist:each() end

---@return integer bytes taken
---@return integer most of `max`
---@return integer entries
function Persist:size() end

---Does it outlive this process? Not in a shadow run or a replay, nor where the directory cannot be used.
---@return boolean durable
---@return string? reason
function Persist:durable() end

---The values that this script keeps under a name: they survive reloads, the worker and the program.
---Raises an error when another watch has the store open.
---@param options moonwatch.PersistOptions
---@return moonwatch.Persist
function mw.persist(options) end

return mw

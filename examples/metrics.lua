-- The figures of the watch for Prometheus: a file for node_exporter's textfile collector, anew each 10 s.
--
-- MOONWATCH_METRICS names the file, in a directory that the scripts' user may write into (--user);
-- MOONWATCH_METRICS_EVERY is another span, such as "1m".
local mw = require "moonwatch"

local path = os.getenv "MOONWATCH_METRICS" or "/var/lib/node_exporter/textfile/moonwatch.prom"
local every = mw.seconds(os.getenv "MOONWATCH_METRICS_EVERY" or 10)

-- name, type, help, and the value, or one for each label
local metrics = {
  { "moonwatch_events_total", "counter", "Events told by the kernel.", "events" },
  { "moonwatch_lost_events_total", "counter", "Events lost by the kernel, by its own count.", "lost" },
  { "moonwatch_inferred_events_total", "counter", "Events found by comparing with /proc after a loss.", "inferred" },
  { "moonwatch_forged_messages_total", "counter", "Messages rejected because the kernel did not send them.", "forged" },
  { "moonwatch_missed_records_total", "counter", "Records that the scripts were too slow for.", "missed" },
  { "moonwatch_summed_events_total", "counter", "Events added up in storms instead of told.", "summed" },
  { "moonwatch_unheard_records_total", "counter", "Records of other sources that found no room.", "unheard" },
  { "moonwatch_execs_total", "counter", "Programs started.", "execs" },
  { "moonwatch_named_ratio", "gauge", "Part of all programs started whose field was read in time.", "named", "field" },
  { "moonwatch_processes", "gauge", "Processes alive.", "processes" },
  { "moonwatch_buffer_fill_ratio", "gauge", "Part of the receive buffer in use.", "buffer_fill" },
  { "moonwatch_backlog_ratio", "gauge", "Part of the memory between collector and scripts that waits.", "backlog" },
}

local function number(value)
  return ("%.17g"):format(value)
end

local function text()
  local stats, lines = mw.stats(), {}
  for _, metric in ipairs(metrics) do
    local name, kind, help, key, label = unpack(metric)
    lines[#lines + 1] = ("# HELP %s %s"):format(name, help)
    lines[#lines + 1] = ("# TYPE %s %s"):format(name, kind)
    if label then
      for value, part in pairs(stats[key]) do
        lines[#lines + 1] = ('%s{%s="%s"} %s'):format(name, label, value, number(part))
      end
    else
      lines[#lines + 1] = ("%s %s"):format(name, number(stats[key]))
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- A reader sees the old file or the new one, never a half.
local function write()
  local fresh = path .. ".new"
  local file = assert(io.open(fresh, "w"))
  assert(file:write(text()))
  assert(file:close())
  assert(os.rename(fresh, path))
end

mw.every(every, write)
mw.at_exit(write)

return mw.script { name = "metrics", needs = { "exe", "args" }, on = {} } -- needed, so that they are counted

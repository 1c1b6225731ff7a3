-- A tool that scans, sniffs, guesses passwords or exploits, by its name; and scripts that look for ways to become root.
-- Why: on most hosts nobody has a use for these.
-- ATT&CK: T1046, T1040, T1110, T1588.002
-- False positives: security tests and network administrators (`ignore`); nmap, tcpdump and the like are medium.
-- Not seen: tools under other names.
-- Options: tools = more names; ignore = texts in command lines that are left out; sniff = true (tcpdump, tshark)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.option("ignore", {})
local more = mw.option("tools", {})
local sniff = mw.option("sniff", true)

local attacks = mw.set { "hydra", "medusa", "ncrack", "john", "hashcat", "crackmapexec", "nxc", "msfconsole",
  "msfvenom", "sqlmap",
  "linpeas", "linpeas.sh", "LinEnum", "LinEnum.sh", "lse.sh", "pspy", "pspy32", "pspy64", "responder", "bettercap",
    "ettercap",
  "aircrack-ng", "evil-winrm", "sliver-client", "sliver-server", "merlin-agent", "havoc", "teamserver", "mimipenguin",
  "laZagne.py", "bloodhound-python", "ldapdomaindump", "impacket-secretsdump", "secretsdump.py", "psexec.py",
    "wmiexec.py",
  "hoaxshell.py", "AutoSUID.sh", "sudo_bruteforce.sh", "linux-exploit-suggester.sh", "stratus", "deepce.sh", "kerbrute",
  "chisel", "nikto", "wpscan", "gobuster", "ffuf", "feroxbuster", "dirb", "wfuzz", "nuclei", "sshpass", "unshadow" }
local scanners = mw.set { "nmap", "masscan", "zmap", "rustscan", "naabu", "netdiscover", "arp-scan", "hping3",
  "fping", "pnscan", "unicornscan" }
local sniffers = mw.set { "tcpdump", "tshark", "dumpcap", "wireshark", "ngrep", "xwd", "import" }
for _, name in ipairs(more) do
  attacks[name] = true
end

local interpreters = mw.set { "sh", "bash", "dash", "zsh", "python", "perl", "ruby" }

-- The script that an interpreter runs counts like a program.
local function named(ev, names)
  local name = command.is(ev, names)
  local script = not name and command.is(ev, interpreters) and not command.told(ev) and command.operands(ev.args)[1]
  local base = command.base(script or nil)
  return name or base and names[base] and base or nil
end

-- for p in ...; do echo > /dev/tcp/host/$p
local function scans(ev)
  local text = command.flat(command.told(ev))
  return text and text:find "/dev/tcp/[^/ ]+/%$" and text:find "for%s" and "a shell's own port scan"
end

local function judge(ev)
  local name = named(ev, attacks)
  if name then
    return name == "sshpass" and "medium" or "high", name:find "^ssh?pass" and "attack.t1110" or "attack.t1588.002",
      name
  end
  name = named(ev, scanners) or scans(ev)
  if name then
    return "medium", "attack.t1046", name
  end
  name = sniff and named(ev, sniffers)
  if name and not (name == "import" and not command.contains(command.text(ev), { "window" })) then
    return "medium", "attack.t1040", name
  end
end

return mw.script {
  name = "offensive-tools",
  tags = { "attack.t1046", "attack.t1040", "attack.t1110", "attack.t1588.002" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local severity, technique, name = judge(ev)
      if severity and not command.contains(command.text(ev), ignore) then
        mw.alert { severity = severity, key = (ev.sid or "?") .. name, dedup = "5m", event = ev, tags = { technique },
          text = ("uses %s: %s"):format(name, command.who(ev)) }
      end
    end,
  },
}

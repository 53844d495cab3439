module voiceagent.dev/testbed/pause

go 1.26.6

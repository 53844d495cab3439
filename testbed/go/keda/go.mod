// Nothing is built: KEDA's CustomResourceDefinitions are read from it.
module voiceagent.dev/testbed/keda

go 1.26.6

require github.com/kedacore/keda/v2 v2.21.0

"""What an autoscaler of the cluster goes by in the examples is what the VoiceAgent beside it says."""

from voiceagent_testbed.monitoring import adapter_rule, example


def test_a_horizontal_pod_autoscaler_has_the_limits_and_the_places_of_its_voice_agent() -> None:
    agent, autoscaler = example("hpa.yaml")
    spec = autoscaler["spec"]
    assert spec["maxReplicas"] == agent["spec"]["autoscaling"]["maxReplicas"]
    assert spec["scaleTargetRef"]["name"] == agent["metadata"]["name"]
    (metric,) = [each["external"] for each in spec["metrics"]]
    assert int(metric["target"]["averageValue"]) == agent["spec"]["worker"]["maxSessions"]
    assert metric["metric"]["name"] == adapter_rule()["name"]["as"]
    assert metric["metric"]["selector"]["matchLabels"] == {"voiceagent_dev_agent": agent["metadata"]["name"]}


def test_a_scaled_object_has_the_limits_and_the_places_of_its_voice_agent() -> None:
    agent, scaled = example("keda.yaml")
    spec = scaled["spec"]
    assert spec["maxReplicaCount"] == agent["spec"]["autoscaling"]["maxReplicas"]
    assert spec["scaleTargetRef"]["name"] == agent["metadata"]["name"]
    (trigger,) = [each["metadata"] for each in spec["triggers"]]
    assert int(trigger["threshold"]) == agent["spec"]["worker"]["maxSessions"]
    assert f'voiceagent_dev_agent="{agent["metadata"]["name"]}"' in trigger["query"]

#!/bin/sh
# For `controlplane agent --mig --copies`: a copy of a model is a container of Docker, on one MIG slice or one whole GPU.
#
#   docker.sh start MODEL UUID
#   docker.sh drain MODEL UUID
#
# A file MODELS/MODEL.env tells the container of a model: IMAGE, ARGS (in which PORT stands for its port), and DRAIN_S, the
# seconds that requests under way are given. It has the network of the host and the first free port from PORT_FIRST on; the
# server is found by whatever finds your servers (docs/how-to/discovery.md).
set -eu

MODELS="${MODELS:-/etc/controlplane/copies}"
PORT_FIRST="${PORT_FIRST:-9000}"

act="$1" model="$2" uuid="$3"
name="controlplane-$uuid-$model"

IMAGE="" ARGS="" DRAIN_S=30
[ -r "$MODELS/$model.env" ] || { echo "no file $MODELS/$model.env"; exit 2; }
# shellcheck source=/dev/null
. "$MODELS/$model.env"

running() { docker ps --filter "name=^$name\$" --filter "label=controlplane.model=$model" --format '{{.Names}}'; }

# The first port that no other copy here has.
free_port() {
  taken=$(docker ps -a --filter label=controlplane.port --format '{{.Label "controlplane.port"}}')
  port="$PORT_FIRST"
  while echo "$taken" | grep -qx "$port"; do port=$((port + 1)); done
  echo "$port"
}

case "$act" in
  start)
    there=$(running)  # by itself, so that a Docker that does not answer ends this here
    if [ -z "$there" ]; then
      # slices are started side by side: until its container is there, a port is nobody's
      exec 9>"${LOCK:-/run/lock/controlplane-copies}"
      flock 9
      docker rm -f "$name" >/dev/null 2>&1 || true
      port=$(free_port)
      # The slice is the only GPU inside, number 0: vLLM takes no MIG UUID in CUDA_VISIBLE_DEVICES.
      # shellcheck disable=SC2086
      docker run -d --name "$name" --label "controlplane.model=$model" --label "controlplane.port=$port" \
        --network host --ipc host --restart unless-stopped --gpus "\"device=$uuid\"" \
        -e NVIDIA_VISIBLE_DEVICES="$uuid" -e CUDA_VISIBLE_DEVICES=0 -e PORT="$port" \
        "$IMAGE" $(echo "$ARGS" | sed "s/PORT/$port/g") >/dev/null
    fi
    ;;
  drain)
    # SIGTERM: Triton takes nothing new and ends what it has (--exit-timeout-secs), vLLM with --shutdown-timeout in ARGS;
    # without that it cuts off what is running. What is left after DRAIN_S is cut off.
    docker stop -t "$DRAIN_S" "$name" >/dev/null 2>&1 || true
    docker rm -f "$name" >/dev/null 2>&1 || true
    left=$(running)  # by itself: a Docker that does not answer is no copy that has gone
    [ -z "$left" ]
    ;;
  *) echo "start or drain, not $act"; exit 2 ;;
esac

# cordond as an image. The programs come from `make release` on the host, which puts
# them into build/bin:
#   make release && docker build -t cordon/cordond:latest .
#
# It makes sandboxes beside itself, on the host's own engine. So it needs the engine's
# socket, the host's process numbers and network, and its state at the same path inside
# and outside, because the engine mounts from there:
#   docker run -d --name cordond --restart=unless-stopped \
#     --pid=host --network=host --cap-drop=ALL \
#     --cap-add=CHOWN --cap-add=DAC_OVERRIDE --cap-add=FOWNER --cap-add=NET_ADMIN --cap-add=NET_RAW \
#     --security-opt=no-new-privileges \
#     -v /var/run/docker.sock:/var/run/docker.sock \
#     -v /var/lib/cordon:/var/lib/cordon \
#     -v /run/cordon:/run/cordon \
#     cordon/cordond:latest
# - NET_ADMIN and NET_RAW are iptables': without them a sandbox with `network_mode:
#   bridge` is refused, and `none` with egress still works.
# - Context paths of agent files have to be mounted at their own paths, too.
# - Who holds the engine's socket is root on the host. This container is not a wall
#   around cordond; it is only a way to install it.
# - The local wall needs more than a container has: use the Docker wall here.
FROM debian:bookworm-slim

RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates iptables \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb

# The guest beside cordond is copied into the state directory, where the engine finds it.
COPY build/bin/cordond build/bin/cordon build/bin/cordon-guest /usr/local/bin/

ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["/usr/local/bin/cordond"]

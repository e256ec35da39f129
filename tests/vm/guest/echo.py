"""Sends every datagram back, until it is ended: echo.py PORT"""

import socket
import sys

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", int(sys.argv[1])))
while True:
    data, sender = server.recvfrom(2048)
    server.sendto(data, sender)

"""Ports of servers that are away for a while: nobody else is given them."""
import socket


def held_port(port, host="127.0.0.1"):
    """A socket that is bound and does not listen: connections are refused, and whoever sets SO_REUSEADDR, as every
    server here does, can listen there before this is closed."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, port))
    return holder

"""Certificates for TLS tests, made by openssl: authorities, and what they sign."""
import subprocess


def openssl(directory, *args):
    subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)


def make_key(directory, name):
    openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")


def make_authority(directory, name):
    make_key(directory, name)
    openssl(directory, "req", "-x509", "-new", "-key", f"{name}.key", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-out", f"{name}.pem")


def make_certificate(directory, name, authority, extension):
    make_key(directory, name)
    openssl(directory, "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
    (directory / f"{name}.ext").write_text(extension)
    openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def make_site(directory):
    """Two authorities, a backend on 127.0.0.1, one under a wrong name, and a client."""
    make_authority(directory, "site-ca")
    make_authority(directory, "other-ca")
    make_certificate(directory, "backend", "site-ca", "subjectAltName=IP:127.0.0.1\n")
    make_certificate(directory, "wrong-name", "site-ca", "subjectAltName=DNS:elsewhere.example\n")
    make_certificate(directory, "gateway", "site-ca", "extendedKeyUsage=clientAuth\n")
    return directory
